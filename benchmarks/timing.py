"""Turns that alternate, A B C A B C, so that what slows the machine for a while slows all alike.

A turn begins with pauses, until the threads of whoever ran before no longer wait for work in a
busy loop, and, for a short call, with one call that is not timed, which brings caches and threads
back to where they are in steady use.  Ratios are taken round by round; medians and quartiles over
the rounds.
"""

from __future__ import annotations

import gc
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter, process_time, sleep
from typing import Any

PAUSE_S = 0.006
"""Longer than the tick at which a kernel counts what a busy thread has cost."""

MOST_PAUSES = 20
"""ONNX Runtime's threads go on for some 50 ms."""

IDLE = 0.1
"""Threads sleep where a pause has cost less than this part of one processor."""

TURN_S = 0.004
"""A turn repeats a short call until it has lasted this long."""

SHORT_S = 0.05
"""A call shorter than this has one that is not timed before it."""

FEWEST_ROUNDS = 5
LONG_ROUND_S, FEWEST_LONG_ROUNDS = 3.0, 3
"""A call of seconds averages over the machine's noise by itself."""


@dataclass(frozen=True)
class Quartiles:
    """The middle half of some figures, and their median."""

    low: float
    median: float
    high: float


def quartiles(values: Sequence[float]) -> Quartiles:
    """Quartiles of at least two values."""
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Quartiles(low, median, high)


def alternate(
    calls: Sequence[Callable[[], Any]], budget_s: float, most_rounds: int
) -> list[list[float]]:
    """Seconds a call, for each of ``calls`` and each round.

    As many rounds as fit into ``budget_s``, at least ``FEWEST_ROUNDS``, or ``FEWEST_LONG_ROUNDS``
    where one takes longer than ``LONG_ROUND_S``.  Every call must have been made once: what only
    its first call does is not measured here.
    """
    gc.collect()
    gc.disable()
    try:
        look = [_turn(call, 1, False) for call in calls]
        plan = [(max(1, math.ceil(TURN_S / s)), s < SHORT_S) for s in look]
        round_s = sum(PAUSE_S + s * (n + warm) for s, (n, warm) in zip(look, plan, strict=True))
        fewest = FEWEST_ROUNDS if round_s <= LONG_ROUND_S else FEWEST_LONG_ROUNDS
        rounds = min(most_rounds, max(fewest, int(budget_s / round_s)))
        # Where no call is short, the first look was a round like the others.
        done = [] if any(warm for _, warm in plan) else [look]
        while len(done) < rounds:
            turns = zip(calls, plan, strict=True)
            done.append([_turn(call, n, warm) for call, (n, warm) in turns])
    finally:
        gc.enable()
    return [list(of_call) for of_call in zip(*done, strict=True)]


def _turn(call: Callable[[], Any], repeats: int, warm: bool) -> float:
    settle()
    if warm:
        call()
    start = perf_counter()
    for _ in range(repeats):
        call()
    return (perf_counter() - start) / repeats


def settle() -> None:
    """Wait until no thread of this process is busy, at most ``MOST_PAUSES`` pauses."""
    for _ in range(MOST_PAUSES):
        before = process_time()
        sleep(PAUSE_S)
        if process_time() - before < IDLE * PAUSE_S:
            return
