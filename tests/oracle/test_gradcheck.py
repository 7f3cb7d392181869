"""First and second derivatives through ``recurrence`` against difference quotients."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from oracle import agreement
from oracle.agreement import Problem, reference
from oracle.forms import FORMS
from oracle.random_cells import DrawnCell, written
from oracle.rounding import COMPARISONS
from oracle.textbook import ALL
from unrolled.cell import Cell

KINKS = COMPARISONS | {"relu", "abs", "sign", "maximum", "minimum", "amax"}
NO_QUOTIENT = KINKS | {"detach"}
"""Ops whose derivative is not what a difference quotient tends to, at some point or by intent."""

DRAWN = 20


def _check(p: Problem) -> None:
    names, n = list(p.parameters), len(p.states)

    def function(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        y, final = reference(p.cell, x, rest[:n], dict(zip(names, rest[n:], strict=True)))
        return (y, *final)

    leaves = tuple(t.clone().requires_grad_() for t in p.leaves.values())
    assert gradcheck(function, leaves)
    assert gradgradcheck(function, leaves)


@ALL
def test_textbook_cells(cell: Cell) -> None:
    p = agreement.problem(cell, cell.resolve_sizes(2, 3, P=2, O=2), 3, 2)
    _check(p)


def _smooth_cells() -> list[DrawnCell]:
    """Cells over random forms, without those that have an op that is not smooth."""
    found: list[DrawnCell] = []
    for seed in range(10_000):
        chance = random.Random(seed)
        drawn = written(chance.choice, [chance.choice(FORMS) for _ in range(4)])
        graph = drawn.cell.graph(dict(drawn.sizes), torch.float64)
        if not NO_QUOTIENT & {e.op for e in graph.equations}:
            found.append(drawn)
        if len(found) == DRAWN:
            return found
    raise AssertionError("too few smooth cells")


@pytest.mark.parametrize("drawn", _smooth_cells(), ids=map(str, range(DRAWN)))
def test_drawn_cells(drawn: DrawnCell) -> None:
    p = agreement.problem(drawn.cell, dict(drawn.sizes), 2, 2)
    _check(p)
