"""One of our cells against another: what peepholes and layer normalisation cost an LSTM."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures.setting import Setting
from benchmarks.grid import FEW, Point, square
from benchmarks.markdown import milliseconds, table
from benchmarks.peers import OURS
from benchmarks.problems import MODES, Mode, make
from benchmarks.summary import geometric_mean
from benchmarks.timing import Quartiles, alternate, quartiles
from benchmarks.verdict import Verdict

BASE = "lstm"
MOST = {"lstm_peephole_gers": 1.3, "lstm_layer_norm": 1.6}
"""What a cell may take beside ``BASE``."""

QUICK: tuple[Point, ...] = (square(100, 1, 128), square(100, 32, 128))
BUDGET_S, MOST_ROUNDS = 1.5, 15


@dataclass(frozen=True)
class Row:
    """Seconds a call of a cell and of the LSTM in alternating turns, and their ratio by round."""

    cell: str
    mode: Mode
    point: Point
    rounds: int
    seconds: Quartiles
    base: Quartiles
    ratio: Quartiles


def measure(setting: Setting) -> Iterator[Row]:
    """A row for each cell, mode and point."""
    for point in QUICK if setting.quick else FEW:
        for mode in MODES:
            calls = [OURS(make(cell, point), mode).call for cell in (BASE, *MOST)]
            for call in calls:
                call()  # compiles
            base, *others = alternate(calls, BUDGET_S, MOST_ROUNDS)
            for cell, times in zip(MOST, others, strict=True):
                ratios = quartiles([t / b for t, b in zip(times, base, strict=True)])
                yield Row(
                    cell, mode, point, len(times), quartiles(times), quartiles(base), ratios
                )  # fmt: skip


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    ratio = row.ratio
    return (
        f"{row.cell:18} {row.mode:9} {row.point!s:20} {ratio.median:.2f} of the {BASE}'s time "
        f"({ratio.low:.2f} to {ratio.high:.2f})"
    )


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The geometric mean over the points."""
    found: list[Verdict] = []
    for cell, most in MOST.items():
        for mode in MODES:
            ratios = [r.ratio.median for r in rows if (r.cell, r.mode) == (cell, mode)]
            if ratios:
                mean = geometric_mean(ratios)
                found.append(
                    Verdict(
                        f"`{cell}` beside our `{BASE}`, {mode}",
                        f"≤ {most:.1f}",
                        f"{mean:.2f}",
                        mean <= most,
                        f"{min(ratios):.2f} to {max(ratios):.2f} at {len(ratios)} points",
                    )
                )
    return found


def section(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    return table(
        ("cell", "mode", "T", "B", "H", "ms", f"`{BASE}`, ms", "ratio"),
        (
            (
                f"`{row.cell}`",
                row.mode,
                *map(str, (row.point.T, row.point.B, row.point.H)),
                milliseconds(row.seconds.median),
                milliseconds(row.base.median),
                f"**{row.ratio.median:.2f}** ({row.ratio.low:.2f}–{row.ratio.high:.2f})",
            )
            for row in rows
        ),
    )
