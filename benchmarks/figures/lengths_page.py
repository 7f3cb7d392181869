"""How sequences of several lengths are printed, judged and shown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.figures.lengths import MARGIN, RESETS, Row
from benchmarks.markdown import milliseconds, table
from benchmarks.problems import MODES, Mode
from benchmarks.summary import geometric_mean
from benchmarks.timing import Quartiles
from benchmarks.verdict import Verdict


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    parts = ", ".join(f"{of.name} {of.ratio.median:.2f} of {of.share:.2f}" for of in row.drawn)
    return (
        f"{row.cell:13} {row.mode:9} {row.point!s:20} {milliseconds(row.padded.median)} ms padded; "
        f"of its time and steps: {parts}; with resets {row.resets_ratio.median:.2f}"
    )


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The lengths that take most beside their share, packing by torch, and resets."""
    found: list[Verdict] = []
    for mode in MODES:
        of_mode = [row for row in rows if row.mode == mode]
        if of_mode:
            found.append(_proportional(mode, of_mode))
            found += _beside_torch(mode, of_mode)
            found.append(_with_resets(mode, of_mode))
    return found


def _proportional(mode: Mode, rows: Sequence[Row]) -> Verdict:
    every = [(row.beyond(of), row, of) for row in rows for of in row.drawn]
    most, worst, drawn = max(every, key=lambda found: found[0])
    above = sum(beyond > MARGIN for beyond, _, _ in every)
    # The margin may also be read as one of the share itself.
    of_share = sum(beyond <= MARGIN * of.share for beyond, _, of in every)
    constants = sorted(row.constant.median * 1e6 for row in rows)
    return Verdict(
        f"`lengths=`, time as a part of the padded call's, {mode}",
        f"≤ share of the steps + {MARGIN:.0%} + constant",
        f"share {most:+.0%} + constant at most",
        not above,
        f"{above} of {len(every)} above; worst: {worst.cell}, {worst.point}, {drawn.name}; "
        f"constant: {constants[0]:.0f} to {constants[-1]:.0f} µs a call; {of_share} of "
        f"{len(every)} within {1 + MARGIN:.1f} × share + constant",
    )


def _beside_torch(mode: Mode, rows: Sequence[Row]) -> list[Verdict]:
    ratios = [
        of.torch_packed.median / of.seconds.median
        for row in rows
        for of in row.drawn
        if of.torch_packed is not None
    ]
    if not ratios:
        return []
    return [
        Verdict(
            f"`lengths=` beside `torch.nn` with a `PackedSequence`, {mode}",
            "to report",
            f"{geometric_mean(ratios):.2f} times as fast",
            None,
            f"{min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} cases",
        )
    ]


def _with_resets(mode: Mode, rows: Sequence[Row]) -> Verdict:
    ratios = [row.resets_ratio.median for row in rows]
    return Verdict(
        f"`resets=` before {RESETS:.0%} of the steps, {mode}",
        "to report",
        f"{geometric_mean(ratios):.2f} of the time without",
        None,
        f"{min(ratios):.2f} to {max(ratios):.2f}, {len(ratios)} cases",
    )


def section(rows: Sequence[Row]) -> str:
    """Tables of what lengths and resets take, and of the constants."""
    constants = {(row.cell, row.mode): f"{row.constant.median * 1e6:.0f}" for row in rows}
    return "\n\n".join(
        (
            _table_of_lengths(rows),
            "The constant: what `lengths=` adds to a call of two examples, two steps, one unit.",
            table(
                ("cell", "mode", "constant, µs"),
                ((f"`{cell}`", mode, value) for (cell, mode), value in constants.items()),
            ),
            f"With resets before {RESETS:.0%} of the steps, and without:",
            table(
                ("cell", "mode", "T", "B", "H", "without, ms", "`resets=`, ms", "ratio"),
                (
                    (
                        *_place(row),
                        milliseconds(row.padded.median),
                        milliseconds(row.resets.median),
                        _ratio(row.resets_ratio),
                    )
                    for row in rows
                ),
            ),
        )
    )


def _table_of_lengths(rows: Sequence[Row]) -> str:
    header = (
        "cell", "mode", "T", "B", "H", "lengths", "share of the steps", "padded, ms",
        "`lengths=`, ms", "of padded", "allowed", "packed, ms", "`torch.nn` padded, ms",
        "`torch.nn` packed, ms",
    )  # fmt: skip
    return table(
        header,
        (
            (
                *_place(row),
                of.name,
                f"{of.share:.2f}",
                milliseconds(row.padded.median),
                milliseconds(of.seconds.median),
                _ratio(of.ratio),
                f"{row.allowed(of):.2f}",
                milliseconds(of.packed.median),
                _or_none(row.torch_padded),
                _or_none(of.torch_packed),
            )
            for row in rows
            for of in row.drawn
        ),
    )


def _place(row: Row) -> tuple[str, ...]:
    return (f"`{row.cell}`", row.mode, *map(str, (row.point.T, row.point.B, row.point.H)))


def _ratio(of: Quartiles) -> str:
    return f"**{of.median:.2f}** ({of.low:.2f}–{of.high:.2f})"


def _or_none(of: Quartiles | None) -> str:
    return "" if of is None else milliseconds(of.median)
