"""Write ``docs/benchmarks.md`` and its figures from results.

python -m benchmarks.page [FILE]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.limits import Limits
from benchmarks.peers import PEERS
from benchmarks.peers.contestant import Missing
from benchmarks.plots import drawn, write
from benchmarks.problems import CUSTOM, DROP_IN, MODES
from benchmarks.results import DIRECTORY, Results, ResultsError, Row, load
from benchmarks.summary import costs, lines

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "benchmarks.md"
INTRO = DOCS / "_benchmarks_intro.md"
NOTES = DOCS / "_benchmarks_notes.md"
FIGURES = DOCS / "benchmarks"


def page(results: Results) -> str:
    """The whole page; what it says of causes is in ``docs/_benchmarks_notes.md``."""
    parts = [
        "<!-- Written by benchmarks/page.py. Do not edit: change docs/_benchmarks_*.md. -->",
        "# Benchmarks",
        INTRO.read_text(encoding="utf-8").strip(),
        "## The machine",
        _machine(results),
        "## Against the targets",
        *_summary(results),
    ]
    if NOTES.exists():
        parts.append(NOTES.read_text(encoding="utf-8").strip())
    figures = drawn(results)
    for peer in PEERS.values():
        rows = [row for row in results.rows if row.peer == peer.name]
        if rows:
            parts.append(f"## Beside {peer.title}")
            if peer.name in figures:
                parts.append(f"![times faster, by hidden size](benchmarks/{peer.name}.svg)")
            parts.append(_rows(rows))
    return "\n\n".join(parts) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    every = (header, ["---"] * len(header), *rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in every)


def _machine(results: Results) -> str:
    machine = results.machine
    facts = [
        ("processor", machine.processor),
        ("instructions", machine.isa),
        ("caches of a core", machine.caches),
        ("threads", str(machine.threads)),
        ("system", machine.system),
    ]
    for number, run in enumerate(results.runs):
        if any(row.run == number for row in results.rows):
            used = ", ".join(f"{name} {version}" for name, version in run.versions.items())
            facts += [
                (f"run of {run.started}", f"commit {run.commit}, load {run.load:.1f}; {used}")
            ]
            facts += [("its limits", _limits(limits)) for limits in run.limits]
    return table(("", ""), facts)


def _limits(limits: Limits) -> str:
    read = ", ".join(f"{_size(r.bytes)} {r.gb_s:.0f}" for r in limits.readings)
    threads = f"{limits.threads} thread{'s' * (limits.threads > 1)}"
    return f"{threads}: {limits.gflops:.0f} GFLOP/s; GB/s by bytes a thread: {read}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes >> 20}M" if n_bytes >= 1 << 20 else f"{n_bytes >> 10}K"


def _summary(results: Results) -> list[str]:
    found = lines(results)
    parts = [
        table(
            ("peer", "cell", "mode", "points", "mean", "target", "", "worst point"),
            (
                (
                    line.peer,
                    f"`{line.cell}`",
                    line.mode,
                    f"{len(line.rows)} of {line.points}",
                    f"**{line.mean:.2f}**",
                    "" if line.target is None else f"≥ {line.target:.1f}",
                    line.verdict,
                    f"{line.worst.ratio.median:.2f} at {line.worst.point}",
                )
                for line in found
            ),
        )
    ]
    of_ours = costs(results)
    if of_ours:
        parts.append("Our own cells' times beside our own LSTM's:")
        parts.append(
            table(
                ("cell", "mode", "points", "mean", "target", ""),
                (
                    (
                        f"`{cost.cell}`",
                        cost.mode,
                        str(cost.points),
                        f"**{cost.mean:.2f}**",
                        f"≤ {cost.most:.1f}",
                        cost.verdict,
                    )
                    for cost in of_ours
                ),
            )
        )
    slower = sorted((r for line in found for r in line.slower), key=lambda r: r.ratio.median)
    parts.append(f"Points at which a peer is faster by more than 5 %: {len(slower)}.")
    if slower:
        parts.append(
            table(
                ("peer", "cell", "mode", "point", "times faster"),
                ((r.peer, f"`{r.cell}`", r.mode, str(r.point), _ratio(r)) for r in slower),
            )
        )
    if results.refused:
        parts.append("Refused, for the peer's outputs and ours differ:")
        parts.append(
            table(
                ("peer", "cell", "mode", "point", "reason"),
                ((r.peer, f"`{r.cell}`", r.mode, str(r.point), r.reason) for r in results.refused),
            )
        )
    return parts


def _rows(rows: Sequence[Row]) -> str:
    modes = [mode for mode in MODES if any(row.mode == mode for row in rows)]
    compiles = any(row.peer in ("compile", "jax") for row in rows)
    header = ["cell", "T", "B", "D", "H"]
    for mode in modes:
        header += [f"{mode}: peer, ms", "ours, ms", "times faster", "of the limit"]
        header += ["first call: peer, s", "ours, s"] if compiles else []
    width = 6 if compiles else 4
    by_key = {(row.cell, row.point, row.mode): row for row in rows}
    order = {cell: number for number, cell in enumerate((*DROP_IN, *CUSTOM))}
    places = sorted({(row.cell, row.point) for row in rows}, key=lambda p: (order[p[0]], p[1]))
    body: list[list[str]] = []
    for cell, point in places:
        line = [f"`{cell}`", *map(str, (point.T, point.B, point.D, point.H))]
        for mode in modes:
            row = by_key.get((cell, point, mode))
            line += [""] * width if row is None else _columns(row, compiles)
        body.append(line)
    return table(header, body)


def _columns(row: Row, compiles: bool) -> list[str]:
    columns = [
        milliseconds(row.theirs.median),
        milliseconds(row.ours.median),
        _ratio(row),
        f"{row.of_limit:.0%}",
    ]
    return columns + ([f"{row.first_theirs_s:.1f}", f"{row.first_ours_s:.1f}"] if compiles else [])


def milliseconds(seconds: float) -> str:
    """Milliseconds with three digits: 0.0312, 1.57, 248."""
    ms = 1e3 * seconds
    digits = 2 if ms >= 1 else 4
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.{digits}f}"


def _ratio(row: Row) -> str:
    ratio = row.ratio
    return f"**{ratio.median:.2f}** ({ratio.low:.2f}–{ratio.high:.2f})"


def main() -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=DIRECTORY / "full.json")
    try:
        results = load(parser.parse_args().file)
        write(results, FIGURES)
    except (Missing, ResultsError) as error:
        sys.exit(f"python -m benchmarks.page: {error}")
    PAGE.write_text(page(results), encoding="utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
