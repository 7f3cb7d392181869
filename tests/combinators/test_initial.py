"""How parameters start: orthogonal matrices, forget gates, time scales."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import unrolled as ur
from unrolled import cells, param


def assert_orthonormal(matrix: Tensor, gain: float = 1.0) -> None:
    rows, columns = matrix.shape
    short = matrix @ matrix.T if rows <= columns else matrix.T @ matrix
    expected = gain**2 * torch.eye(min(rows, columns), dtype=matrix.dtype)
    # A Householder factorisation is orthogonal within rows * columns roundings (Higham 2002, 19.3).
    bound = gain**2 * 4 * rows * columns * torch.finfo(matrix.dtype).eps
    torch.testing.assert_close(short, expected, rtol=0, atol=bound)


def test_each_gate_is_orthogonal_by_itself() -> None:
    made = ur.initialised(cells.lstm, W_hh=ur.Orthogonal(gain=0.5), W_ih=ur.Orthogonal())
    layer = ur.Recurrent(made, 10, 5, 2, bidirectional=True, dtype=torch.float64)
    for name, weight in layer.named_parameters():
        if name.startswith("W_"):
            gates = weight.detach().chunk(4)
            for gate in gates:
                assert_orthonormal(gate, 0.5 if name.startswith("W_hh") else 1.0)
            assert not torch.equal(gates[0], gates[1])
    before = {n: p.clone() for n, p in layer.named_parameters()}
    layer.reset_parameters()
    assert not torch.equal(layer.get_parameter("W_hh_l0"), before["W_hh_l0"])
    assert list(made.parameters) == list(cells.lstm.parameters)
    assert cells.lstm.parameters["W_hh"].init == "uniform"


@pytest.mark.parametrize("input_size", [1, 4, 8, 12, 16])
def test_gates_are_those_of_the_declaration_whatever_the_sizes(input_size: int) -> None:
    @ur.cell
    def mixed(x: Any, h: Any, *, W: Any = param("2*H", "D"),
              U: Any = param("2*H", "H"), R: Any = param("D", "H")) -> Any:  # fmt: skip
        z, n = (W @ x + U @ h).chunk(2)
        h = z * n
        return R @ h, (h,)

    made = ur.initialised(mixed, W=ur.Orthogonal(), R=ur.Orthogonal())
    layer = ur.Recurrent(made, input_size, 8, dtype=torch.float64)
    for gate in layer.get_parameter("W_l0").detach().chunk(2):
        assert_orthonormal(gate)
    assert_orthonormal(layer.get_parameter("R_l0").detach())


def test_orthogonal_of_one_wide_matrix_or_of_blocks_that_are_named() -> None:
    wide = torch.empty(3, 7, dtype=torch.float64)
    ur.Orthogonal()(wide)
    assert_orthonormal(wide)
    tall = torch.empty(8, 3, dtype=torch.float64)
    ur.Orthogonal(blocks=1)(tall)
    assert_orthonormal(tall)
    ur.Orthogonal(blocks=2)(tall)
    for block in tall.chunk(2):
        assert_orthonormal(block)


def test_the_bias_of_one_gate() -> None:
    layer = ur.Recurrent(
        ur.initialised(cells.lstm, b_ih=ur.GateBias(1, of=4, value=2.0), b_hh=0.0), 3, 50
    )
    i, f, g, o = layer.get_parameter("b_ih_l0").detach().chunk(4)
    assert torch.equal(f, torch.full((50,), 2.0))
    for rest in (i, g, o):
        assert 0 < rest.abs().max() <= 50**-0.5
        assert rest.unique().numel() > 40
    assert torch.equal(layer.get_parameter("b_hh_l0"), torch.zeros(200))


def test_time_scales() -> None:
    b = torch.empty(4 * 500, dtype=torch.float64)
    ur.Chrono(longest=100)(b)
    i, f, g, o = b.chunk(4)
    assert torch.equal(i, -f)
    assert not g.any()
    assert not o.any()
    scales = f.exp()
    assert 1 <= scales.min() < 5
    assert 94 < scales.max() <= 99
    # The mean of 500 numbers uniform in 1 … 99, within five standard deviations.
    assert abs(scales.mean() - 50) < 5 * 98 / 12**0.5 / 500**0.5
    gru = torch.empty(3 * 500)
    ur.Chrono(100, forget=1, input=None, of=3)(gru)
    r, z, n = gru.chunk(3)
    assert not r.any()
    assert not n.any()
    assert z.min() >= 0


def test_torchs_functions_numbers_and_uniform_are_starts_too() -> None:
    made = ur.initialised(cells.gru_cho, W=nn.init.xavier_normal_, b=0.25, U="uniform")
    layer = ur.Recurrent(ur.residual(made, project=True), 3, 5)
    assert torch.equal(layer.get_parameter("b_l0"), torch.full((15,), 0.25))
    assert (layer.get_parameter("U_l0").abs() <= 5**-0.5).all()


def test_starts_are_pickled_and_printed() -> None:
    made = ur.initialised(cells.lstm, W_hh=ur.Orthogonal(), b_ih=ur.Chrono(50))
    assert made.name == (
        "initialised(lstm, W_hh=Orthogonal(blocks=None, gain=1.0), "
        "b_ih=Chrono(longest=50, forget=1, input=0, of=4))"
    )
    layer = ur.Recurrent(ur.residual(made), 5, 5)
    back = pickle.loads(pickle.dumps(layer))
    assert back.cell.parameters["b_ih"].init == ur.Chrono(50)
    assert copy.deepcopy(layer).cell is layer.cell


def test_what_is_refused() -> None:
    with pytest.raises(ur.CellError) as caught:
        ur.initialised(cells.gru, W=0.0)
    assert (caught.value.problem, caught.value.hint) == (
        "initialised(gru): there is no parameter W",
        "the parameters are W_ih, W_hh, b_ih, b_hh",
    )
    for start, shape, message in (
        (ur.Orthogonal(), (3,), "Orthogonal() fills matrices, got the shape [3]"),
        (ur.Orthogonal(), (32, 12),
         "Orthogonal() of a tensor [32, 12]: say how many gates stand in it, as in "
         "Orthogonal(blocks=4); a cell's declaration, param('4*H', 'D'), says so itself"),
        (ur.Orthogonal(blocks=3), (8, 2),
         "Orthogonal(blocks=3): 8 rows do not fall into 3 blocks"),
        (ur.GateBias(4, of=4), (8,),
         "GateBias(gate=4, of=4, value=1.0): gate 4 is none of 4 gates, which count from 0"),
        (ur.GateBias(1, of=3), (8,),
         "GateBias(gate=1, of=3, value=1.0): a bias of shape [8] has no 3 gates"),
        (ur.Chrono(2), (8,),
         "Chrono(longest=2, forget=1, input=0, of=4): the longest time scale must be above 2 "
         "steps"),
    ):  # fmt: skip
        with pytest.raises(ValueError) as wrong:
            start(torch.empty(*shape))
        assert str(wrong.value) == message
    for wrong_start in (ur.GateBias(1, of=4), ur.Chrono(100)):
        with pytest.raises(ValueError) as wrong:
            ur.Recurrent(ur.initialised(cells.gru, b_ih=wrong_start), 5, 8)
        assert str(wrong.value) == (
            f"{wrong_start}: a bias of shape [24] has 3 gates as it is declared, not 4: say of=3, "
            "and which gate"
        )
