"""What the page says of training's peak memory, as ``python -m benchmarks.memory`` measured it."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures.line_fit import fit
from benchmarks.markdown import table
from benchmarks.memory import Row
from benchmarks.verdict import Verdict

NOISE = 1.02
"""Resident memory comes in pages and arenas: two runs of one program differ by a percent."""

LINEAR = 0.1


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
