"""The bound is tight enough: a derivative that is wrong by a millionth is caught in every cell."""

from __future__ import annotations

import pytest
import torch

from oracle import agreement
from oracle.agreement import Problem, assert_agree, bounds, compiled, differences, plain
from oracle.running_error import analyse
from oracle.wrong_rules import rules_used, slightly_wrong
from unrolled import cell as cell_of
from unrolled import param
from unrolled.cell import Cell
from unrolled.cells import CELLS


def problem(cell: Cell, steps: int) -> Problem:
    return agreement.problem(cell, cell.resolve_sizes(3, 5, P=7, O=9), steps, 5)


def _rules(cell: Cell) -> list[str]:
    return sorted(rules_used(cell.graph(cell.resolve_sizes(3, 5, P=7, O=9), torch.float64)))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_it_is_far_below_the_results_after_fifty_steps(cell: Cell) -> None:
    """Layer normalisation divides by a spread three times a step, which may be small."""
    p = problem(cell, 50)
    expected = plain(p)
    largest = max(float(d.abs().max()) for g in expected.gradients for d in g.values())
    bound = max(float(e.max()) for _, _, e in differences(expected, expected, bounds(p, expected)))
    assert bound < (1e-6 if cell.name == "lstm_layer_norm" else 1e-10) * largest


@pytest.mark.parametrize(
    ("cell", "op"),
    [pytest.param(c, op, id=f"{name}-{op}") for name, c in CELLS.items() for op in _rules(c)],
)
def test_a_derivative_wrong_by_a_millionth_is_caught(cell: Cell, op: str) -> None:
    p = problem(cell, 3)
    expected = plain(p)
    with slightly_wrong(op):
        found, bound = compiled(p), bounds(p, expected)
    with pytest.raises(AssertionError, match="times what rounding allows"):
        assert_agree(found, expected, bound)


def kinked(x, h, *, b=param("H")):  # type: ignore[no-untyped-def]
    return torch.relu(x + h - b)


def peaked(x, h):  # type: ignore[no-untyped-def]
    return h / 2 + (x * h).amax()


@pytest.mark.parametrize("step", [kinked, peaked], ids=["relu at 0", "a tie for the largest"])
@pytest.mark.parametrize(("offset", "ambiguous"), [(0.0, True), (2.0**-56, True), (1e-3, False)])
def test_a_step_too_near_to_a_kink_is_reported(
    step: object, offset: float, ambiguous: bool
) -> None:
    """Offset from 0 is x + h - b, and x h at its largest from the next one."""
    cell = cell_of(step)  # type: ignore[arg-type]
    graph = cell.graph(cell.resolve_sizes(2, 2), torch.float64)
    x = torch.tensor([[[0.3, 0.3]]], dtype=torch.float64)
    h = torch.tensor([[0.1 + offset, 0.1]], dtype=torch.float64)
    b = {"b": torch.full((2,), 0.3 + 0.1, dtype=torch.float64)} if step is kinked else {}
    if step is kinked:
        h[0, 1] = 5.0
    d = torch.ones(1, 1, 1, 2, dtype=torch.float64)
    found = analyse(graph, x, [h], b, d, [d[0]])
    assert bool(found.ambiguous) == ambiguous


def test_an_exact_tie_is_not_ambiguous() -> None:
    """What relu cuts off is 0 without error, on the same side of 0 in every computation."""

    def cut_twice(x, h):  # type: ignore[no-untyped-def]
        return torch.relu(torch.relu(x) * 2) + torch.maximum(torch.relu(x), torch.zeros_like(x)) + h

    cell = cell_of(cut_twice)
    x = torch.tensor([[[-0.7, 0.3]]], dtype=torch.float64)
    h, d = torch.zeros(1, 2, dtype=torch.float64), torch.ones(1, 1, 1, 2, dtype=torch.float64)
    found = analyse(cell.graph(cell.resolve_sizes(2, 2), torch.float64), x, [h], {}, d, [d[0]])
    assert not found.ambiguous
