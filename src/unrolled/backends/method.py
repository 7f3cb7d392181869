"""Which method runs the loop of a linear cell, and why: the one place that decides.

**The CPU backend** keeps its loop: one pass over the coefficients, which a scan reads and writes
several times.  It moves its bytes about as fast as torch copies as many, but for short sequences,
where the start of a call counts.  One example runs on one thread: where a thread alone does not
fill the memory's bandwidth, sharing the state's elements would take less time yet.

**The reference backend** pays several calls to torch for every step of a loop, and for a scan
several at each of log2 T halvings, which move more memory.  So the scan wins where a step is short
of work: ``python -m benchmarks.linear`` prints the time of the loop over that of the scan, by T and
the numbers of a step, and the CPU's loop beside a copy.  The two limits below are from it.

Other devices have not been measured.  There a call costs the same time or more to start, and the
memory is faster, so that the limit on a step's numbers, which is the CPU's, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence

from unrolled.lower import Plan
from unrolled.passes.intervals import contracts
from unrolled.passes.linear import LinearForm, loop_form

STEPS = 16
"""The fewest steps that are scanned."""

NUMBERS_ON_CPU = 1024
"""The most numbers that the states of one step have, of all examples, in a scan on the CPU."""


def linear_loops(plan: Plan) -> tuple[LinearForm | None, LinearForm | None]:
    """The forms of both loops, forward and reverse, where a scan may run them.

    Only where every factor is within ±1, as the scan's products could overflow otherwise.  The
    reverse loop is linear too, with the forward loop's factors: the step's Jacobian is diagonal.
    """
    if plan.linear is None or not contracts(plan.linear):
        return None, None
    return loop_form(plan.forward), None if plan.reverse is None else loop_form(plan.reverse)


def scans(sizes: Sequence[int], width: int, device: str) -> bool:
    """Whether a linear loop is scanned: so many examples in each step, states of ``width``."""
    n_steps = len(sizes)
    small = device != "cpu" or sum(sizes) * width <= NUMBERS_ON_CPU * n_steps
    return n_steps >= STEPS and sum(sizes) > 0 and small


def explain_interpreted(plan: Plan) -> str:
    """The reference backend's method for a linear cell, in words; nothing for any other."""
    if plan.linear is None:
        return ""
    if linear_loops(plan)[0] is None:
        return (
            "\n  linear in the state, but walked step by step: nothing keeps the factors of the "
            "state\n    within -1 and 1, and products of many, which a scan forms, could overflow"
        )
    loops = "the loop" if plan.reverse is None else "both loops"
    return (
        f"\n  linear in the state: a parallel scan runs {loops} on all steps at once, in O(log T)"
        f"\n    calls, from {STEPS} steps on; on the CPU where the states of a step are "
        f"{NUMBERS_ON_CPU} numbers\n    at most: beyond that a step's work outweighs its calls"
    )
