"""``python -m benchmarks.memory``: peak memory of training, ours beside ``torch.nn``'s.

Each measurement is a process of its own.  After a short call, which compiles and starts threads,
it notes how much memory is resident, with input, parameters and the output's gradient in it, and
then the peak over a few training calls.  The C library is told to give freed memory back at once:
the peak is to be of what is alive, not of what was.  Linux only, for ``/proc``.  Writes
``benchmarks/results/memory.json``.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

from benchmarks import machine
from benchmarks.figures import fresh
from benchmarks.grid import Point, square
from benchmarks.peers import OURS
from benchmarks.peers.torch_nn import build as torch_nn
from benchmarks.problems import DROP_IN, make
from benchmarks.results import DIRECTORY
from benchmarks.stored import write

SCHEMA = 1
FILE = DIRECTORY / "memory.json"
OTHERS = ("lstm_peephole_gers", "lstm_layer_norm")
"""Cells that torch.nn has not, at the first point alone."""

POINTS = (
    square(200, 64, 512), *(square(t, 32, 256) for t in (25, 50, 100, 200, 400)),
    square(50, 128, 1024), square(100, 16, 128), square(1000, 1, 256), square(1024, 16, 768),
)  # fmt: skip
QUICK = (square(100, 16, 256), square(200, 16, 256))
WARM_STEPS, CALLS = 8, 3
BUILDS = {"ours": OURS, "torch": torch_nn}
AT_ONCE = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}


@dataclass(frozen=True)
class Row:
    """Bytes that training needs at most beside its input, parameters and the output's gradient."""

    cell: str
    T: int
    B: int
    H: int
    ours_bytes: int
    torch_bytes: int | None


def _kilobytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def peak_bytes(who: str, cell: str, point: Point) -> int:
    """Of this process, which should be a new one."""
    BUILDS[who](make(cell, Point(WARM_STEPS, point.B, point.D, point.H)), "training").call()
    contestant = BUILDS[who](make(cell, point), "training")
    gc.collect()
    # Lets the kernel count the peak anew from here.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _kilobytes("VmRSS")
    for _ in range(CALLS):
        contestant.call()
    return 1024 * (_kilobytes("VmHWM") - before)


def measure(points: Sequence[Point], threads: int) -> Iterator[Row]:
    """A row for each cell and point."""
    for point in points:
        for cell in DROP_IN + (OTHERS if point == points[0] else ()):
            found = {
                who: int(
                    fresh.run(
                        "benchmarks.memory", "--child", who, cell, *map(str, _sizes(point)),
                        "--threads", str(threads), environment=AT_ONCE,
                    )
                )
                for who in BUILDS
                if who == "ours" or cell in DROP_IN
            }  # fmt: skip
            yield Row(cell, point.T, point.B, point.H, found["ours"], found.get("torch"))


def _sizes(point: Point) -> tuple[int, int, int]:
    return point.T, point.B, point.H


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    point = square(row.T, row.B, row.H)
    beside = (
        f", torch.nn {row.torch_bytes / 1e6:8.1f} MB: {row.ours_bytes / row.torch_bytes:.2f} of it"
        if row.torch_bytes
        else ""
    )
    each = row.ours_bytes / (4 * row.T * row.B * row.H)
    return (
        f"{row.cell:18} {point!s:20} ours {row.ours_bytes / 1e6:8.1f} MB, {each:5.2f} times "
        f"[T, B, H]{beside}"
    )


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print each row as it comes, and write the file at the end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two points")
    parser.add_argument("--threads", type=int, default=2, help="threads of all (default: 2)")
    parser.add_argument("--out", type=Path, default=FILE, metavar="FILE")
    parser.add_argument("--child", nargs=5, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    machine.pin(arguments.threads)
    if arguments.child:
        who, cell, T, B, H = arguments.child
        print(json.dumps(peak_bytes(who, cell, square(int(T), int(B), int(H)))))
        return
    whole = {
        "machine": asdict(machine.machine()),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "versions": machine.versions(),
    }
    rows: list[Row] = []
    for row in measure(QUICK if arguments.quick else POINTS, arguments.threads):
        rows.append(row)
        print(line(row), flush=True)
    write(arguments.out, SCHEMA, {**whole, "rows": [asdict(row) for row in rows]})


if __name__ == "__main__":
    try:
        main()
    except fresh.ChildFailed as error:
        sys.exit(f"python -m benchmarks.memory: {error}")
