"""The recurrent loop alone: which part of the multiply-add peak it reaches.

The call of the compiled loop is timed from inside ordinary training and inference, so the products
before and after it are left out.  It packs its weights itself, which is counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import fresh
from benchmarks.figures.setting import Setting
from benchmarks.grid import Point, square
from benchmarks.markdown import milliseconds, table
from benchmarks.problems import DROP_IN
from benchmarks.stored import decoded
from benchmarks.timing import Quartiles
from benchmarks.verdict import Verdict

Part = Literal["inference", "forward", "backward"]
"""The forward loop of inference, that of training, which keeps what backward reads; backward's."""

FULL: tuple[Point, ...] = tuple(square(100, B, H) for B in (32, 64, 128) for H in (256, 512, 1024))
QUICK: tuple[Point, ...] = (square(100, 32, 256),)
TARGETS: dict[Part, float] = {"inference": 0.75, "forward": 0.75, "backward": 0.65}


@dataclass(frozen=True)
class Row:
    """A loop's seconds at one point, and which part of the peak its product with h reaches.

    ``call`` are the seconds of the call as a whole; one of training has both of its loops in it.
    """

    cell: str
    point: Point
    part: Part
    seconds: Quartiles
    call: Quartiles
    of_peak: float


def measure(setting: Setting) -> Iterator[Row]:
    """A row for each loop of each cell at each point; a process of its own for each cell."""
    points = QUICK if setting.quick else FULL
    sizes = [f"{p.T},{p.B},{p.D},{p.H}" for p in points]
    for cell in DROP_IN:
        words = (cell, str(setting.threads), str(setting.gflops), *sizes)
        for found in fresh.run("benchmarks.figures.loop_child", *words):
            yield decoded(Row, found)


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    return (
        f"{row.cell:5} {row.part:9} {row.point!s:20} "
        f"{milliseconds(row.seconds.median)} ms, {row.of_peak:.0%} of the peak"
    )


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The worst point of each loop."""
    found: list[Verdict] = []
    for part, least in TARGETS.items():
        of_part = sorted((r for r in rows if r.part == part), key=lambda row: row.of_peak)
        if of_part:
            worst = of_part[0]
            below = [row for row in of_part if row.of_peak < least]
            found.append(
                Verdict(
                    f"the loop alone, {part}",
                    f"≥ {least:.0%} of the peak",
                    f"{worst.of_peak:.0%} to {of_part[-1].of_peak:.0%}",
                    not below,
                    f"{len(below)} of {len(of_part)} below; least: {worst.cell}, {worst.point}",
                )
            )
    return found


def section(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    header = ("cell", "T", "B", "H", "loop", "ms", "of the peak", "whole call, ms")
    return table(
        header,
        (
            (
                f"`{row.cell}`",
                *map(str, (row.point.T, row.point.B, row.point.H)),
                row.part,
                milliseconds(row.seconds.median),
                f"**{row.of_peak:.0%}**",
                milliseconds(row.call.median),
            )
            for row in rows
        ),
    )
