"""Cells drawn over all functions and ops: the CPU backend equals the plain loop over time."""

from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import unrolled
from kernel_runs import SHARING, Share, shared
from oracle import agreement
from oracle.agreement import assert_agree, bounds, plain
from oracle.random_cells import DrawnCell, drawn_cells
from oracle.rounding import ROUNDINGS

EXAMPLES = 40
STEPS = (1, 2, 4, 7)
BATCHES = (1, 2, 3, 5, 13)


def on_the_cpu(*args: object) -> tuple[Tensor, tuple[Tensor, ...]]:
    return unrolled.recurrence(*args, backend="cpu")  # type: ignore[arg-type]


def test_drawn_cells_equal_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs and all gradients, within the bound of functions that are 4 ulp, 8 roundoffs, off."""
    for op in ROUNDINGS:
        monkeypatch.setitem(ROUNDINGS, op, 8)
    checked = 0

    @settings(max_examples=EXAMPLES)
    @given(
        drawn_cells(), st.sampled_from(STEPS), st.sampled_from(BATCHES), st.integers(0, 99),
        st.sampled_from(SHARING),
    )  # fmt: skip
    def check(
        drawn: DrawnCell, steps: int, batch: int, seed: int, sharing: tuple[Share, int]
    ) -> None:
        nonlocal checked
        given = dict(drawn.sizes)
        sizes = drawn.cell.resolve_sizes(given["D"], given["H"], P=given["P"])
        p = agreement.problem(drawn.cell, sizes, steps, batch, seed)
        expected = plain(p)
        bound = bounds(p, expected)
        assume(not bound.ambiguous)
        with shared(*sharing):
            found = agreement.run(on_the_cpu, p)
        assert_agree(found, expected, bound)
        checked += 1

    check()
    assert checked >= EXAMPLES
