"""Jacobians are jacrev's of the user's own step; singular values are those of closed forms."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.image import imread
from torch import Tensor
from torch.func import jacrev  # pyright: ignore[reportPrivateImportUsage]

import unrolled
from linear_rnns import H, scaled_orthogonal, sequence, with_matrix
from tiny_models import TEXT, tiny
from unrolled.cells import CELLS
from unrolled.inspect.given import one_sequence
from unrolled.inspect.jacobians import jacobian, jacobians
from unrolled.inspect.step import Step
from unrolled.inspect.style import save
from unrolled.returned import unpack

EPS = torch.finfo(torch.float64).eps


def layer_of(name: str) -> unrolled.Recurrent:
    torch.manual_seed(0)
    cell = CELLS[name]
    sizes = {s: 3 for s in cell.size_names() if s not in ("D", "H")}
    return unrolled.Recurrent(cell, 4, 4, sizes=sizes, dtype=torch.float64)


@pytest.mark.parametrize("name", sorted(CELLS))
def test_a_jacobian_is_that_of_the_users_own_step(name: str) -> None:
    layer, x = layer_of(name), sequence(5, 1, 4)
    ((run, place),) = one_sequence(layer, (x,))
    step = Step.of(run, place)
    parameters = {p: getattr(layer, f"{p}_l0").detach() for p in layer.cell.parameters}
    sizes = [s.shape[-1] for s in layer.initial_state(1)]
    states = torch.cat([s[0, 0] for s in layer.initial_state(1)])
    for t in range(5):

        def own(states: Tensor, t: int = t) -> Tensor:
            _, new, _ = unpack(layer.cell(x[t, 0], *states.split(sizes), **parameters), len(sizes))
            return torch.cat(new)

        # At most some hundred operations on values below 10.
        want: Any = jacrev(own)(states)
        torch.testing.assert_close(step.states[t], states, atol=1e3 * EPS, rtol=0)
        torch.testing.assert_close(jacobian(step, t), want, atol=1e3 * EPS, rtol=0)
        states = own(states)


def singular_rounding(n: int, norm: float) -> float:
    """How far singular values are moved by the roundings that the matrix and LAPACK bring.

    Both change the matrix by n ε of its norm at most, but for a small factor (LAPACK Users' Guide,
    section 4.9), and no singular value by more than the matrix (Weyl).
    """
    return 10 * n * EPS * norm


def test_a_scaled_orthogonal_matrix_stretches_all_alike() -> None:
    found = jacobians(scaled_orthogonal(0.9), (sequence(30),)).layers[0]
    want = torch.full((30, H), 0.9, dtype=torch.float64)
    torch.testing.assert_close(found.singular, want, atol=singular_rounding(H, 0.9), rtol=0)
    assert found.at.tolist() == list(range(30))


def test_singular_values_fall_and_the_longest_sequence_is_taken() -> None:
    layer = with_matrix(torch.diag(torch.tensor([0.5, -2.0, 1.0], dtype=torch.float64)))
    found = jacobians(layer, (sequence(9, 3),), steps=3)
    want = torch.tensor([[2.0, 1.0, 0.5]] * 3).double()
    torch.testing.assert_close(
        found.layers[0].singular, want, atol=singular_rounding(3, 2.0), rtol=0
    )
    assert found.layers[0].at.tolist() == [0, 4, 8]
    (row,) = found.table()
    assert (row["largest"], row["smallest"], row["share above 1"]) == (
        pytest.approx(2), pytest.approx(0.5), pytest.approx(1 / 3, abs=0.34)
    )  # fmt: skip
    assert (row["steps"], row["size"], row["states"]) == ("3 of 9", 3, "h")


def test_float32_models_are_looked_at_in_float64() -> None:
    model = tiny("gru")
    found = jacobians(model, TEXT).layers
    assert [layer.singular.dtype for layer in found] == [torch.float64] * 2
    assert [layer.length for layer in found] == [len(model.with_start(TEXT))] * 2


def test_large_layers_are_looked_at_in_fewer_steps() -> None:
    layer = unrolled.LSTM(2, 100)
    assert len(jacobians(layer, (torch.zeros(400, 1, 2),)).layers[0].at) == 100
    large = unrolled.RNN(2, 700)
    told: list[float] = []
    found = jacobians(large, (torch.zeros(20, 1, 2),), progress=lambda _, share: told.append(share))
    assert len(found.layers[0].at) == 8
    assert told == [k / 8 for k in range(9)]


def test_bad_input_gets_one_line() -> None:
    layer = scaled_orthogonal(1.0)
    for x, steps, message in (
        (sequence(6), 7, "recurrent l0: the sequence has 6 steps, not 7"),
        (sequence(6), 0, "steps must be at least 1, got 0"),
        (sequence(6) * torch.nan, 1, "recurrent l0: its input is not finite from step 0 on"),
    ):
        with pytest.raises(ValueError) as caught:
            jacobians(layer, (x,), steps)
        assert str(caught.value) == message


def test_the_picture_shows_the_largest_and_has_units(tmp_path: Path) -> None:
    found = jacobians(tiny(), TEXT)
    figure = found.plot()
    assert imread(save(figure, tmp_path / "jacobians.png")).shape[1] == 800
    for axes, layer in zip(figure.axes, found.layers, strict=True):
        drawn = np.asarray(axes.lines[0].get_ydata())
        np.testing.assert_allclose(drawn, layer.singular[:, 0])
        assert axes.get_ylabel() == "singular value\n(factor a step)"
    assert figure.axes[-1].get_xlabel() == "time (steps)"
