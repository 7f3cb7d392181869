"""The page's tables of what was to be reached: asked, measured, reached or missed."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks import memory, memory_page
from benchmarks.figures.catalogue import FIGURES
from benchmarks.figures.record import Record
from benchmarks.markdown import table
from benchmarks.peers import PEERS
from benchmarks.results import Results, Row
from benchmarks.summary import TARGETS, Line, lines
from benchmarks.verdict import Verdict

HEADER = (
    *("peer", "cell", "mode", "points", "mean", "target", ""),
    *("at the limit", "slower", "worst point"),
)


def section(results: Results, record: Record | None, of_memory: Sequence[memory.Row]) -> str:
    """All targets; those of which there is no measurement say so."""
    found = lines(results)
    aimed = [line for line in found if line.target is not None]
    others = [line for line in found if line.target is None]
    parts = [
        "The peer's time over ours, as geometric means over the points. *Slower* counts points at "
        "which the peer is faster by more than 5 %. *At the limit* is what the mean would be if "
        "each of our times were the shortest that this machine's arithmetic and caches allow: a "
        "target above that can't be reached here by anybody.",
        table(HEADER, [*map(_cells, aimed), *_missing(aimed)]),
        "### The other targets",
        table(("what", "asked", "measured", "", ""), _others(found, record, of_memory)),
    ]
    slower = sorted((r for line in found for r in line.slower), key=lambda r: r.ratio.median)
    parts += ["### Points slower than their peer", f"More than 5 %: {_count(slower, found)}."]
    if slower:
        header = ("peer", "cell", "mode", "point", "times faster")
        parts.append(table(header, (_point(row) for row in slower)))
    if results.refused:
        parts.append("Refused, for the peer's outputs and ours differ:")
        header = ("peer", "cell", "mode", "point", "reason")
        rows = ((r.peer, f"`{r.cell}`", r.mode, str(r.point), r.reason) for r in results.refused)
        parts.append(table(header, rows))
    if others:
        parts += ["### Without a target", table(HEADER, map(_cells, others))]
    return "\n\n".join(parts)


def ratio(row: Row) -> str:
    """How many times ours is faster, with its quartiles."""
    return f"**{row.ratio.median:.2f}** ({row.ratio.low:.2f}–{row.ratio.high:.2f})"


def _cells(line: Line) -> tuple[str, ...]:
    return (
        line.peer,
        f"`{line.cell}`",
        line.mode,
        f"{len(line.rows)} of {line.points}",
        f"**{line.mean:.2f}**",
        "" if line.target is None else f"≥ {line.target:.1f}",
        line.verdict,
        f"{line.at_limit:.2f}",
        str(len(line.slower)),
        f"{line.worst.ratio.median:.2f} at {line.worst.point}",
    )


def _missing(aimed: Sequence[Line]) -> list[tuple[str, ...]]:
    have = {(line.peer, line.cell, line.mode) for line in aimed}
    return [
        (peer, f"`{cell}`", mode, f"0 of {len(PEERS[peer].full[cell])}", "", f"≥ {least:.1f}",
         "not measured", "", "", "")
        for (peer, cell), by_mode in TARGETS.items()
        for mode, least in by_mode.items()
        if (peer, cell, mode) not in have
    ]  # fmt: skip


def _others(
    found: Sequence[Line], record: Record | None, of_memory: Sequence[memory.Row]
) -> list[tuple[str, ...]]:
    slower = [row for line in found for row in line.slower]
    verdicts = [
        Verdict("points slower than their peer by over 5 %", "0", _count(slower, found), not slower)
    ]
    rows: list[tuple[str, ...]] = []
    for figure in FIGURES.values():
        measured = record.rows(figure.name) if record else ()
        verdicts += figure.verdicts(measured)
        if not measured:
            rows.append((figure.title, "", "not measured", "", ""))
    verdicts += memory_page.verdicts(of_memory)
    if not of_memory:
        rows.append(("Peak memory", "", "not measured", "", ""))
    judged = [(v.what, v.asked, f"**{v.measured}**", v.word, v.note) for v in verdicts]
    return [*judged, *rows]


def _count(slower: Sequence[Row], found: Sequence[Line]) -> str:
    return f"{len(slower)} of {sum(len(line.rows) for line in found)}"


def _point(row: Row) -> tuple[str, ...]:
    return (row.peer, f"`{row.cell}`", row.mode, str(row.point), ratio(row))
