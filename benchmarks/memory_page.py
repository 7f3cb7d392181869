"""What the page says of peak memory, which ``benchmarks/results/memory.json`` holds.

Its ``rows`` have ``cell``, ``T``, ``B``, ``H`` and the bytes that training takes at most:
``ours_bytes``, and ``torch_bytes`` for ``torch.nn``, null where it has no such layer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures.line_fit import fit
from benchmarks.markdown import table
from benchmarks.results import DIRECTORY
from benchmarks.stored import ResultsError
from benchmarks.verdict import Verdict

FILE = DIRECTORY / "memory.json"
NOISE = 1.02
"""Resident memory comes in pages and arenas: two runs of one program differ by a percent."""

LINEAR = 0.1


@dataclass(frozen=True)
class Row:
    """Bytes that training takes at most."""

    cell: str
    T: int
    B: int
    H: int
    ours_bytes: int
    torch_bytes: int | None


def load(path: Path) -> tuple[Row, ...]:
    """The file's rows, none where there is no file; other keys of a row are not for the page.

    Raises :class:`ResultsError` where it can't be read.
    """
    if not path.exists():
        return ()
    names = tuple(Row.__dataclass_fields__)
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        return tuple(Row(**{name: row[name] for name in names}) for row in rows)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{path} has no rows of {', '.join(names)}: {error!r}") from error


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """Against torch.nn, and whether memory grows as a line over T."""
    found: list[Verdict] = []
    beside = {r: r.ours_bytes / r.torch_bytes for r in rows if r.torch_bytes}
    if beside:
        worst = max(beside, key=lambda row: beside[row])
        more = sum(ratio > NOISE for ratio in beside.values())
        found.append(
            Verdict(
                "peak memory of training beside `torch.nn`",
                "not more",
                f"{beside[worst]:.2f} of it at most",
                not more,
                f"{more} of {len(beside)} above; most: {worst.cell}, T={worst.T} B={worst.B} "
                f"H={worst.H}",
            )
        )
    off = {key: _off(times) for key, times in _series(rows).items() if len(times) > 2}
    if off:
        cell, B, H = max(off, key=lambda key: off[key])
        found.append(
            Verdict(
                "peak memory linear in T",
                "no step",
                f"{max(off.values()):.0%} off a line at most",
                max(off.values()) <= LINEAR,
                f"{len(off)} series; worst: {cell}, B={B} H={H}",
            )
        )
    return found


def _series(rows: Sequence[Row]) -> dict[tuple[str, int, int], dict[int, float]]:
    found: dict[tuple[str, int, int], dict[int, float]] = {}
    for row in rows:
        found.setdefault((row.cell, row.B, row.H), {})[row.T] = float(row.ours_bytes)
    return found


def _off(by_steps: dict[int, float]) -> float:
    line = fit(by_steps)
    return max(line.off(*of) for of in by_steps.items())


def section(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    return table(
        ("cell", "T", "B", "H", "ours, MB", "`torch.nn`, MB", "ours beside it"),
        (
            (
                f"`{row.cell}`",
                *map(str, (row.T, row.B, row.H)),
                f"{row.ours_bytes / 1e6:,.0f}",
                f"{row.torch_bytes / 1e6:,.0f}" if row.torch_bytes else "",
                f"**{row.ours_bytes / row.torch_bytes:.2f}**" if row.torch_bytes else "",
            )
            for row in rows
        ),
    )
