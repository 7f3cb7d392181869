"""The first call of a cell in a process: it traces, compiles or finds in the cache, and loads."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benchmarks.figures import fresh
from benchmarks.figures.setting import Setting
from benchmarks.markdown import milliseconds, table
from benchmarks.problems import MODES, Mode
from benchmarks.timing import Quartiles, quartiles
from benchmarks.verdict import Verdict

Cache = Literal["empty", "filled"]
MOST_S: dict[Cache, float] = {"empty": 1.5, "filled": 0.020}

CELLS = ("gru", "lstm", "own")
"""``own`` is a cell of nobody's library, in :mod:`benchmarks.figures.first_call_child`."""

STEPS = (10, 1000)
REPEATS, QUICK_REPEATS = 3, 2


@dataclass(frozen=True)
class Row:
    """Seconds of the first call and of one a little later, in several processes."""

    cell: str
    mode: Mode
    T: int
    cache: Cache
    first: Quartiles
    later: Quartiles
    beyond: Quartiles


def measure(setting: Setting) -> Iterator[Row]:
    """Two rows for each cell, mode and T: the cache empty, and then in a new process."""
    cells = CELLS[-1:] if setting.quick else CELLS
    for cell in cells:
        for T in STEPS:
            for mode in MODES:
                yield from _rows(cell, mode, T, setting)


def _rows(cell: str, mode: Mode, T: int, setting: Setting) -> Iterator[Row]:
    found: dict[Cache, list[tuple[float, float]]] = {cache: [] for cache in MOST_S}
    words = (cell, mode, str(T), str(setting.threads))
    for _ in range(QUICK_REPEATS if setting.quick else REPEATS):
        with tempfile.TemporaryDirectory() as directory:
            environment = {"UNROLLED_CACHE": directory}
            for seconds in found.values():
                first, later = fresh.run(
                    "benchmarks.figures.first_call_child", *words, environment=environment
                )
                seconds.append((first, later))
    for cache, seconds in found.items():
        yield Row(
            cell, mode, T, cache,
            quartiles([first for first, _ in seconds]),
            quartiles([later for _, later in seconds]),
            quartiles([first - later for first, later in seconds]),
        )  # fmt: skip


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    return (
        f"{row.cell:5} {row.mode:9} T={row.T:<5} cache {row.cache:6} first call "
        f"{row.first.median * 1e3:7.1f} ms, later {row.later.median * 1e3:6.2f} ms"
    )


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The slowest with each state of the cache."""
    found: list[Verdict] = []
    for cache, most in MOST_S.items():
        of_cache = [row for row in rows if row.cache == cache]
        if of_cache:
            worst = max(of_cache, key=lambda row: row.beyond.median)
            above = sum(row.beyond.median >= most for row in of_cache)
            found.append(
                Verdict(
                    f"first call, the cache {cache}",
                    f"< {most * 1e3:,.0f} ms",
                    f"{worst.beyond.median * 1e3:,.0f} ms at most",
                    not above,
                    f"{above} of {len(of_cache)} above; slowest: {worst.cell}, {worst.mode}, "
                    f"T={worst.T}",
                )
            )
    return found


def section(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    return table(
        ("cell", "mode", "T", "cache", "first call, ms", "later call, ms", "beyond it, ms"),
        (
            (
                f"`{row.cell}`",
                row.mode,
                str(row.T),
                row.cache,
                milliseconds(row.first.median),
                milliseconds(row.later.median),
                f"**{milliseconds(row.beyond.median)}**",
            )
            for row in rows
        ),
    )
