"""Every composed cell on both backends equals the plain loop: outputs and all gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import unrolled
from combinators.samples import COMPOSED
from oracle import agreement
from oracle.agreement import Problem, assert_agree, bounds, plain, run
from oracle.rounding import ROUNDINGS
from unrolled.cell import Cell

ALL = pytest.mark.parametrize("cell", COMPOSED.values(), ids=COMPOSED)
SIZES = {"input_size": 5, "hidden_size": 5, "P": 5, "O": 9}
"""D = H = P, as a residual connection without projection needs."""
OTHER_SIZES = {"input_size": 11, "hidden_size": 29, "P": 7, "O": 9}


def problem(cell: Cell, steps: int, batch: int, sizes: dict[str, int] = SIZES) -> Problem:
    return agreement.problem(cell, cell.resolve_sizes(**sizes), steps, batch)


def on_cpu(*args: object) -> tuple[Tensor, tuple[Tensor, ...]]:
    return unrolled.recurrence(*args, backend="cpu")  # type: ignore[arg-type]


@ALL
def test_both_backends_equal_the_plain_loop(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(cell, 7, 5)
    expected = plain(p)
    bound = bounds(p, expected)
    assert not bound.ambiguous
    assert_agree(run(agreement.reference, p), expected, bound)
    for op in ROUNDINGS:  # functions of the C within 4 ulp
        monkeypatch.setitem(ROUNDINGS, op, 8)
    assert_agree(run(on_cpu, p), expected, bounds(p, expected))


NEEDS_EQUAL_SIZES = ("residual(reader)", "residual(layer_norm(with_activation(lstm_projected")
LOADED = "layer_norm(gru, products, h)"


@pytest.mark.parametrize(
    "name", [n for n in COMPOSED if not n.startswith((*NEEDS_EQUAL_SIZES, LOADED))]
)
def test_sizes_that_differ(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    p = problem(COMPOSED[name], 3, 17, OTHER_SIZES)
    for op in ROUNDINGS:
        monkeypatch.setitem(ROUNDINGS, op, 8)
    expected = plain(p)
    assert_agree(run(on_cpu, p), expected, bounds(p, expected))


@ALL
def test_derivatives_of_second_order(cell: Cell) -> None:
    p = problem(cell, 2, 1)
    names, n = list(p.parameters), len(p.states)

    def function(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        y, final = on_cpu(p.cell, x, rest[:n], dict(zip(names, rest[n:], strict=True)))
        return (y, *final)

    leaves = tuple(t.clone().requires_grad_() for t in p.leaves.values())
    # Along random directions: each entry by itself takes a hundred times as long.
    assert torch.autograd.gradgradcheck(function, leaves, fast_mode=True)
