"""Each textbook cell by itself: it runs, uses what it declares, starts as its paper says."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import unrolled.cells
from cell_samples import (
    BATCH,
    OTHERS,
    D,
    H,
    inputs,
    magnitude,
    parameters,
    random,
    rounding,
    sizes_of,
    states,
    step,
)
from unrolled import naive
from unrolled.cell import Cell
from unrolled.cells import CELLS, elman_output, gru, lstm, lstm_projected, rnn
from unrolled.cells.initial import LONGEST

LINEAR = {"mingru", "minlstm", "sru"}
ALL = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def test_every_cell_is_exported() -> None:
    assert set(unrolled.cells.__all__) == {"CELLS", *CELLS}
    for name, cell in CELLS.items():
        assert getattr(unrolled.cells, name) is cell


@ALL
def test_a_docstring_names_the_paper_and_its_year(cell: Cell) -> None:
    [paper] = re.findall(r"^Paper: .+", cell.doc, re.MULTILINE)
    assert re.search(r"\b(19|20)\d\d\b", paper)


@ALL
def test_runs_over_time_and_batch(cell: Cell) -> None:
    x, given, params = inputs(steps=4, batch=3), states(cell, batch=3), parameters(cell)
    before = [t.clone() for t in (x, *given, *params.values())]
    y, new = naive.recurrence(cell, x, given, params)
    assert y.shape[:2] == (4, 3)
    assert [tuple(s.shape) for s in new] == [tuple(s.shape) for s in given]
    assert all(t.isfinite().all() for t in (y, *new))
    for old, now in zip(before, (x, *given, *params.values()), strict=True):
        assert torch.equal(old, now)


@ALL
def test_a_batch_is_its_examples(cell: Cell) -> None:
    x, given, params = inputs(), states(cell), parameters(cell)
    y, new = naive.recurrence(cell, x, given, params)
    for row in range(BATCH):
        returned = cell(x[0, row], *(s[row] for s in given), **params)
        one, one_new, _ = naive.unpack(returned, len(cell.states))
        for batched, single in zip((y[0], *new), (one, *one_new), strict=True):
            bound = rounding(params, x, *given)
            torch.testing.assert_close(batched[row], single, rtol=0, atol=bound)


@ALL
def test_every_parameter_and_state_matters(cell: Cell) -> None:
    params = {name: p.requires_grad_() for name, p in parameters(cell).items()}
    given = tuple(s.requires_grad_() for s in states(cell))
    y, new = naive.recurrence(cell, inputs(steps=3).requires_grad_(), given, params)
    total = sum(((t * random(*t.shape, seed=9)).sum() for t in (y, *new)), torch.tensor(0.0))
    for gradient in torch.autograd.grad(total, (*params.values(), *given)):
        assert gradient.abs().max() > 0


@pytest.mark.parametrize(
    ("cell", "module"),
    [
        (rnn, torch.nn.RNN(D, H, dtype=torch.float64)),
        (
            rnn.bind(nonlinearity="relu"),
            torch.nn.RNN(D, H, nonlinearity="relu", dtype=torch.float64),
        ),
        (lstm, torch.nn.LSTM(D, H, dtype=torch.float64)),
        (lstm_projected, torch.nn.LSTM(D, H, proj_size=OTHERS["P"], dtype=torch.float64)),
        (gru, torch.nn.GRU(D, H, dtype=torch.float64)),
    ],
    ids=["rnn", "rnn-relu", "lstm", "lstm_projected", "gru"],
)
def test_equals_torch(cell: Cell, module: torch.nn.RNNBase) -> None:
    # W_ih, b_hh, W_hr, ... as torch calls them, in torch's order and shapes.
    named = {
        f"{name.replace('W', 'weight').replace('b_', 'bias_')}_l0": name for name in cell.parameters
    }
    assert list(named) == [name for name, _ in module.named_parameters()]
    shapes = cell.parameter_shapes(sizes_of(cell))
    params = parameters(cell)
    for name, weight in module.named_parameters():
        assert tuple(weight.shape) == shapes[named[name]]
        weight.data.copy_(params[named[name]])

    x, given = inputs(steps=4), states(cell)
    packed: Any = [s[None] for s in given]
    with torch.no_grad():
        theirs, last = module(x, packed[0] if len(packed) == 1 else tuple(packed))
    final = [s[0] for s in (last if isinstance(last, tuple) else (last,))]
    ours, new = naive.recurrence(cell, x, given, params)

    # A step is wrong by `rounding`, and hands on an error L times as large.  With the states within
    # s, m the magnitude of a pre-activation and |W_hh| its largest row sum: a gate's slope is 1/4,
    # so c' changes by dc + |W_hh| (1 + s/2) dh at most, h' by |W_hh| dh / 4 more, and a GRU's
    # candidate by |W_hh| (1 + m/4) dh; a projection scales h' by its norm.
    largest = max(float(s.abs().max()) for s in (*given, *final, x))
    m = magnitude(params, x, *given, *final)
    norm = float(params["W_hh"].abs().sum(1).max())
    projection = float(params["W_hr"].abs().sum(1).max()) if "W_hr" in params else 1.0
    grows = (1 + norm * (2 + largest + m / 4)) * max(1.0, projection)
    bound = rounding(params, x, *given, *final) * sum(grows**t for t in range(len(x)))
    assert bound < 1e-5, "too loose to tell a wrong formula"
    for a, b in zip((ours, *new), (theirs, *final), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=bound)


@ALL
def test_the_linear_cells_and_no_others_are_linear(cell: Cell) -> None:
    """Affine and elementwise in the state, with coefficients that no state changes."""
    params, x = parameters(cell), inputs()[0, 0]

    def update(*given: Tensor) -> tuple[Tensor, ...]:
        return naive.unpack(cell(x, *given, **params), len(cell.states))[1]

    def jacobian(*given: Tensor) -> Tensor:
        rows: Any = torch.func.jacrev(update, argnums=tuple(range(len(given))))(*given)
        return torch.cat([torch.cat(row, 1) for row in rows])

    # On both sides of a relu's kink: far out, its argument has the sign of the state's term.
    here = jacobian(*(20 * s[0] for s in states(cell)))
    there = jacobian(*(-20 * s[0] for s in states(cell)))
    elementwise = torch.equal(here, here.diag().diag())
    assert (elementwise and torch.equal(here, there)) == (cell.name in LINEAR)


def started(cell: Cell, name: str, *shape: int) -> Tensor:
    init: Any = cell.parameters[name].init
    torch.manual_seed(0)
    filled = torch.full(shape, torch.nan, dtype=torch.float64).requires_grad_()
    init(filled)
    return filled.detach()


def test_the_forget_gate_starts_open() -> None:
    i, f, g, o = started(CELLS["lstm_one_bias"], "b", 4 * 100).chunk(4)
    assert torch.equal(f, torch.ones(100))
    for other in (i, g, o):
        assert 0.05 < other.abs().max() <= 0.1  # ±1/√H


def test_time_constants_start_spread_over_the_scales() -> None:
    tau = started(CELLS["leaky_rnn"], "log_tau", 1000).exp()
    assert tau.min() >= 1
    assert tau.max() <= LONGEST
    assert abs(tau.log10().mean() - 1) < 0.1  # as many below 10 steps as above
    forget, candidate = started(CELLS["janet"], "b", 2000).chunk(2)
    assert forget.min() >= 0
    assert LONGEST / 2 < forget.exp().max() < LONGEST
    assert torch.equal(candidate, torch.zeros(1000))


def test_the_independent_weights_start_between_nothing_and_full_memory() -> None:
    u = started(CELLS["indrnn"], "u", 1000)
    assert 0 <= u.min() < 0.01
    assert 0.99 < u.max() <= 1


def test_layer_norm_starts_as_identity_after_the_norm() -> None:
    specs = CELLS["lstm_layer_norm"].parameters
    gains = [specs[name].init for name in ("gain_x", "gain_h", "gain_c")]
    assert gains == [1.0, 1.0, 1.0]
    assert specs["b"].init == specs["shift_c"].init == 0.0


def test_an_unknown_nonlinearity_is_named() -> None:
    wrong = rnn.bind(nonlinearity="tahn")
    message = "no activation is called 'tahn': use one of tanh, relu, sigmoid, softmax, identity"
    with pytest.raises(ValueError, match=message):
        step(wrong, parameters(rnn), states(rnn))


@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_an_output_is_of_the_new_state(output: str) -> None:
    params, given = parameters(elman_output), states(elman_output)
    y, h = step(elman_output.bind(output=output), params, given)
    logits = h @ params["W_hy"].T + params["b_y"]
    wanted = {
        "identity": logits,
        "sigmoid": torch.sigmoid(logits),
        "softmax": torch.softmax(logits, 1),
    }[output]
    torch.testing.assert_close(y, wanted, rtol=0, atol=rounding(params, *given))


def test_the_table_of_the_documentation_has_every_cell() -> None:
    tables = runpy.run_path(str(Path(__file__).parent.parent / "docs" / "tables.py"))
    rows = [line.split(" | ") for line in tables["table"]().splitlines()]
    assert {len(row) for row in rows} == {5}
    assert [row[0].strip("| `") for row in rows[2:]] == list(CELLS)
    assert rows[2][1:4] == [
        "Simple recurrent network with two biases, as `torch.nn.RNN` has it",
        "`h[H]`",
        "`W_ih[H, D]`, `W_hh[H, H]`, `b_ih[H]`, `b_hh[H]`",
    ]
    assert "Elman 1990" in rows[2][4]
