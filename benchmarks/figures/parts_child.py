"""``python -m benchmarks.figures.parts_child CELL THREADS T,B,D,H …``: points of ``parts``.

A process of its own, so that all compiled code is loaded while :mod:`timed_calls` looks on.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from unittest.mock import patch

import torch

from benchmarks import machine
from benchmarks.figures.parts import Row
from benchmarks.figures.timed_calls import Call, rounds, timed
from benchmarks.grid import Point
from benchmarks.peers.ours import build
from benchmarks.problems import MODES, make
from benchmarks.timing import quartiles
from unrolled.backends.cpu.build import load
from unrolled.backends.cpu.products import products

LOOP, AROUND = "ur_run", "ur_do"
PRODUCT = 2
"""Where a loop finds its product in the table of ``templates/products.h``."""
BUDGET_S = 0.6


@dataclass(frozen=True)
class Round:
    """Seconds of one call, and of the compiled functions in it."""

    call: float
    loop: float
    around: float


def told_apart(calls: Sequence[Call], call_s: float) -> Round:
    """What of a call was its loops, and what the products around them."""
    unknown = {c.function for c in calls} - {
        LOOP,
        AROUND,
        "ur_packed_size",
        "ur_total_outer_workspace",
    }
    if unknown or not any(c.function == LOOP for c in calls):
        raise ValueError(f"expected calls of {LOOP} and {AROUND}, found {sorted(unknown)}")
    seconds = {name: sum(c.seconds for c in calls if c.function == name) for name in (LOOP, AROUND)}
    return Round(call_s, seconds[LOOP], seconds[AROUND])


@contextmanager
def no_product() -> Generator[None]:
    """Inside, loops call a function that does nothing in the place of their product."""
    nothing = load("void ur_nothing(void) {}\n", {}).ur_nothing
    of_loops = products(torch.float32)
    # The library's own table can't be written to.
    layout = ctypes.c_void_p * (PRODUCT + 1)
    table = layout.from_buffer_copy(layout.from_address(of_loops.table))
    table[PRODUCT] = ctypes.cast(nothing, ctypes.c_void_p).value
    with patch.object(of_loops, "table", ctypes.addressof(table)):
        yield


def measure(cell: str, points: Sequence[Point]) -> Iterator[Row]:
    """The parts of each call of the cell at each point."""
    with timed() as calls:
        for point in points:
            problem = make(cell, point)
            for mode in MODES:
                contestant = build(problem, mode)
                whole = rounds(contestant, calls, told_apart, BUDGET_S)
                with no_product():
                    without = rounds(contestant, calls, told_apart, BUDGET_S)
                yield Row(
                    cell,
                    point,
                    mode,
                    quartiles([r.call for r in whole]),
                    quartiles([r.loop for r in whole]),
                    quartiles([r.loop for r in without]),
                    quartiles([r.around for r in whole]),
                )


def main() -> None:
    """Print the rows as JSON."""
    cell, threads, *sizes = sys.argv[1:]
    machine.pin(int(threads))
    points = [Point(*map(int, of.split(","))) for of in sizes]
    print(json.dumps([asdict(row) for row in measure(cell, points)]))


if __name__ == "__main__":
    main()
