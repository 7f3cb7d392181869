"""Every textbook cell, compiled, equals the plain loop over time: outputs and all gradients."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from oracle import agreement
from oracle.agreement import Problem, Results, assert_agree, bounds, compiled, plain, reference
from oracle.textbook import ALL
from unrolled.cell import Cell

# Odd and distinct, so that a mixed-up size or a lane left over can't go unnoticed.
SIZES = {"input_size": 3, "hidden_size": 5, "P": 7, "O": 9}
OTHER_SIZES = {"input_size": 7, "hidden_size": 3, "P": 1, "O": 5}


def problem(cell: Cell, steps: int, batch: int, sizes: dict[str, int] = SIZES) -> Problem:
    return agreement.problem(cell, cell.resolve_sizes(**sizes), steps, batch)


@ALL
@pytest.mark.parametrize(
    ("steps", "batch", "sizes"),
    [
        (1, 1, SIZES), (1, 5, SIZES), (7, 1, SIZES), (7, 5, SIZES), (50, 1, SIZES), (50, 5, SIZES),
        (7, 3, OTHER_SIZES),
    ],
    ids=["T1-B1", "T1-B5", "T7-B1", "T7-B5", "T50-B1", "T50-B5", "other-sizes"],
)  # fmt: skip
def test_equals_the_plain_loop(cell: Cell, steps: int, batch: int, sizes: dict[str, int]) -> None:
    p = problem(cell, steps, batch, sizes)
    expected = plain(p)
    bound = bounds(p, expected)
    assert not bound.ambiguous
    assert_agree(compiled(p), expected, bound)


@ALL
def test_any_part_of_the_gradients_can_be_asked_for(cell: Cell) -> None:
    p = problem(cell, 3, 2)
    expected = plain(p)
    bound = bounds(p, expected)
    states = [s.name for s in cell.states]
    for wrt in (*([name] for name in p.leaves), states, [cell.input, *states], list(p.parameters)):
        part = compiled(p, wrt)
        assert all(list(g) == wrt for g in part.gradients)
        assert_agree(part, expected, bound)
    assert_agree(compiled(p, []), expected, bound)


@ALL
@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (4, 0), (0, 0)])
def test_no_steps_or_no_examples(cell: Cell, steps: int, batch: int) -> None:
    p = problem(cell, steps, batch)
    results = compiled(p)
    assert results.y.shape == (steps, batch, cell.output_size(p.sizes))
    assert [s.shape for s in results.states] == [s.shape for s in p.states]
    if steps == 0:
        assert all(torch.equal(a, b) for a, b in zip(results.states, p.states, strict=True))
    _, d_states = agreement.cotangents(p, results.y, results.states)
    for k, gradients in enumerate(results.gradients):
        for name, d in gradients.items():
            assert d.shape == p.leaves[name].shape
            if name not in [s.name for s in cell.states]:
                assert torch.equal(d, torch.zeros_like(d)), name
        if steps == 0:
            for state, d in zip(cell.states, d_states, strict=True):
                assert torch.equal(gradients[state.name], d[k])


@ALL
def test_without_gradients_the_results_are_the_same(cell: Cell) -> None:
    p = problem(cell, 7, 5)
    with torch.no_grad():
        y, states = reference(cell, p.x, p.states, p.parameters)
    assert not y.requires_grad
    expected = plain(p)
    assert_agree(Results(y, states, ()), replace(expected, gradients=()), bounds(p, expected))


def converted(p: Problem, dtype: torch.dtype) -> Problem:
    states = tuple(s.to(dtype) for s in p.states)
    parameters = {name: t.to(dtype) for name, t in p.parameters.items()}
    return replace(p, x=p.x.to(dtype), states=states, parameters=parameters)


@ALL
def test_single_precision_is_as_near_as_its_roundoff_allows(cell: Cell) -> None:
    """Computed in float32 throughout, and compared with float64 within the bound at u = 2^-24."""
    low = converted(problem(cell, 7, 5), torch.float32)
    high = converted(low, torch.float64)
    found, expected = compiled(low), plain(high)
    every = (found.y, *found.states, *(d for g in found.gradients for d in g.values()))
    assert {t.dtype for t in every} == {torch.float32}
    bound = bounds(high, expected, torch.float32)
    assert not bound.ambiguous
    assert_agree(found, expected, bound)
