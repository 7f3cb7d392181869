"""One run: for each case build all contestants, compare what they compute, then time them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from benchmarks.agreement import Disagreement, compare
from benchmarks.limits import Limits
from benchmarks.peers import Case
from benchmarks.peers.contestant import Build, Contestant, Tensors
from benchmarks.problems import Problem, make
from benchmarks.results import Refusal, Row
from benchmarks.timing import alternate, quartiles
from benchmarks.work import flops, shortest_s


@dataclass(frozen=True)
class Effort:
    """How long a case is timed: ``budget_s`` for all its turns, and at most so many rounds."""

    budget_s: float
    most_rounds: int


FULL = Effort(0.8, 15)
QUICK = Effort(0.2, 15)


@dataclass(frozen=True)
class _Ready:
    """A contestant after its first call."""

    call: Callable[[], Any]
    first_s: float
    tensors: Tensors


def measure(
    case: Case, ours: Build, peers: Mapping[str, Build], limits: Limits, effort: Effort, run: int
) -> Iterator[Row | Refusal]:
    """A row for each of the case's peers; a refusal for one whose outputs differ from ours."""
    problem = make(case.cell, case.point)
    of_ours = _first(ours, problem, case)
    calls: dict[str, _Ready] = {}
    errors: dict[str, float] = {}
    for name in case.peers:
        ready = _first(peers[name], problem, case)
        try:
            errors[name] = compare(of_ours.tensors, ready.tensors, case.point)
        except Disagreement as reason:
            yield Refusal(name, case.cell, case.mode, case.point, run, str(reason))
            continue
        calls[name] = ready
    if not calls:
        return
    our_times, *their_times = alternate(
        [of_ours.call, *(ready.call for ready in calls.values())],
        effort.budget_s,
        effort.most_rounds,
    )
    our_quartiles = quartiles(our_times)
    count = flops(case.cell, case.point, case.mode)
    rate = count / our_quartiles.median / 1e9
    shortest = shortest_s(case.cell, case.point, case.mode, limits)
    for (name, ready), times in zip(calls.items(), their_times, strict=True):
        yield Row(
            peer=name,
            cell=case.cell,
            mode=case.mode,
            point=case.point,
            run=run,
            rounds=len(times),
            ours=our_quartiles,
            theirs=quartiles(times),
            ratio=quartiles([t / o for t, o in zip(times, our_times, strict=True)]),
            error=errors[name],
            first_ours_s=of_ours.first_s,
            first_theirs_s=ready.first_s,
            gflops=rate,
            of_peak=rate / limits.gflops,
            of_limit=shortest / our_quartiles.median,
        )


def _first(build: Build, problem: Problem, case: Case) -> _Ready:
    gc.collect()
    start = perf_counter()
    contestant: Contestant = build(problem, case.mode)
    outcome = contestant.call()
    seconds = perf_counter() - start
    return _Ready(contestant.call, seconds, contestant.tensors(outcome))
