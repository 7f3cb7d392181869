"""Cells drawn over all functions and ops: the CPU backend equals the plain loop over time.

Float64 is held to the bound that rounding allows, float32 to that of single precision beside the
float64 loop, on numbers that both precisions have.
"""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

import unrolled
from kernel_runs import SHARING, Share, shared
from oracle import agreement
from oracle.agreement import Problem, Results, assert_agree, bounds, differences, plain
from oracle.random_cells import DrawnCell, drawn_cells
from oracle.rounding import ROUNDINGS
from oracle.running_error import Bounds

EXAMPLES = 120
IN_SINGLE = 38
"""So many are checked in float32 too, at least; the others compare what single precision can't tell
apart, or say double()."""
STEPS = (1, 2, 4, 7)
BATCHES = (1, 2, 3, 5, 13)
UNDERFLOW = torch.finfo(torch.float32).tiny


def on_the_cpu(*args: object) -> tuple[Tensor, tuple[Tensor, ...]]:
    return unrolled.recurrence(*args, backend="cpu")  # type: ignore[arg-type]


def to(p: Problem, dtype: torch.dtype) -> Problem:
    """The problem's tensors in another precision."""
    return replace(
        p,
        x=p.x.to(dtype),
        states=tuple(t.to(dtype) for t in p.states),
        parameters={n: t.to(dtype) for n, t in p.parameters.items()},
    )


def assert_single(found: Results, expected: Results, bound: Bounds) -> None:
    """Float32 results are within their bound of the exact ones, so of float64's but for 2**-29.

    The bound is of relative errors; below the normal numbers they are absolute, and far below
    ``UNDERFLOW``.
    """
    for name, off, e in differences(found, expected, bound):
        assert (off.abs() <= (1 + 2.0**-28) * e + UNDERFLOW).all(), (
            f"float32 {name}: off by {float(off.abs().max()):.3g}, "
            f"{float((off.abs() / e).nan_to_num().max()):.3g} times the bound"
        )


# Two compilations and two precisions a cell: a second or more.
@pytest.mark.timeout(1200)
def test_drawn_cells_equal_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs and all gradients, within the bound of functions that are 4 ulp, 8 roundoffs, off."""
    for op in ROUNDINGS:
        monkeypatch.setitem(ROUNDINGS, op, 8)
    checked = in_single = 0

    @settings(max_examples=EXAMPLES)
    @given(
        drawn_cells(), st.sampled_from(STEPS), st.sampled_from(BATCHES), st.integers(0, 99),
        st.sampled_from(SHARING),
    )  # fmt: skip
    def check(
        drawn: DrawnCell, steps: int, batch: int, seed: int, sharing: tuple[Share, int]
    ) -> None:
        nonlocal checked, in_single
        given = dict(drawn.sizes)
        sizes = drawn.cell.resolve_sizes(given["D"], given["H"], P=given["P"])
        single = to(agreement.problem(drawn.cell, sizes, steps, batch, seed), torch.float32)
        p = to(single, torch.float64)
        expected = plain(p)
        bound = bounds(p, expected)
        assume(not bound.ambiguous)
        with shared(*sharing):
            found = agreement.run(on_the_cpu, p)
        assert_agree(found, expected, bound)
        checked += 1
        bound = bounds(p, expected, torch.float32)
        # A comparison that single precision may decide otherwise is no error of ours, and a step
        # that says double() has one precision.
        if not bound.ambiguous and not re.search("double|float64", drawn.source):
            with shared(*sharing):
                found = agreement.run(on_the_cpu, single)
            assert_single(found, expected, bound)
            in_single += 1

    check()
    assert checked >= EXAMPLES
    assert in_single >= IN_SINGLE, f"{in_single} of {checked}"
