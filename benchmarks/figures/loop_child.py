"""``python -m benchmarks.figures.loop_child CELL THREADS GFLOPS T,B,D,H …``: points of ``loop``.

A process of its own, so that all compiled code is loaded while :mod:`timed_calls` looks on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

from benchmarks import machine
from benchmarks.figures.loop import Part, Row
from benchmarks.figures.timed_calls import Call, rounds, timed
from benchmarks.grid import Point
from benchmarks.peers.ours import build
from benchmarks.problems import MODES, Mode, make
from benchmarks.timing import quartiles
from benchmarks.work import loop_flops

LOOP = "ur_run"
PARTS: dict[Mode, tuple[Part, ...]] = {
    "inference": ("inference",),
    "training": ("forward", "backward"),
}
BUDGET_S = 1.0


class NoLoop(Exception):
    """The compiled functions are others than this module knows."""


@dataclass(frozen=True)
class Round:
    """One call: the seconds of its loops in order, and its own."""

    loops: tuple[float, ...]
    call: float


def split(mode: Mode, calls: Sequence[Call], call_s: float) -> Round:
    """What a call's compiled functions took.

    Raises :class:`NoLoop` where the loop was not called once a direction.
    """
    loops = tuple(c.seconds for c in calls if c.function == LOOP)
    if len(loops) != len(PARTS[mode]):
        raise NoLoop(
            f"{mode} called {LOOP} {len(loops)} times, expected {len(PARTS[mode])}; the compiled "
            f"functions called are {sorted({c.function for c in calls})}"
        )
    return Round(loops, call_s)


def measure(cell: str, points: Sequence[Point], gflops: float) -> Iterator[Row]:
    """Each loop of the cell at each point."""
    with timed() as calls:
        for point in points:
            problem = make(cell, point)
            peak_s = loop_flops(cell, point) / gflops / 1e9
            for mode in MODES:
                told = partial(split, mode)
                done = rounds(build(problem, mode), calls, told, BUDGET_S)
                whole = quartiles([r.call for r in done])
                for number, part in enumerate(PARTS[mode]):
                    seconds = quartiles([r.loops[number] for r in done])
                    of_peak = peak_s / seconds.median
                    yield Row(cell, point, part, seconds, whole, of_peak)


def main() -> None:
    """Print the rows as JSON."""
    cell, threads, gflops, *sizes = sys.argv[1:]
    machine.pin(int(threads))
    points = [Point(*map(int, of.split(","))) for of in sizes]
    print(json.dumps([asdict(row) for row in measure(cell, points, float(gflops))]))


if __name__ == "__main__":
    main()
