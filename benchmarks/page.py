"""Write ``docs/benchmarks.md`` and its figures from results.

python -m benchmarks.page [FILE]

The other figures, memory's and the products' are in the files beside it; folders there hold the
same of other machines, whose targets the page shows too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import memory, memory_page, products, products_page, targets
from benchmarks.figures.catalogue import FIGURES, KINDS
from benchmarks.figures.record import FILE, Record
from benchmarks.figures.record import load as load_record
from benchmarks.limits import Limits
from benchmarks.markdown import milliseconds, table
from benchmarks.peers import PEERS
from benchmarks.peers.contestant import Missing
from benchmarks.plots import drawn, write
from benchmarks.problems import CUSTOM, DROP_IN, MODES
from benchmarks.results import DIRECTORY, Results, ResultsError, Row, Run, load
from benchmarks.stored import rows
from benchmarks.targets import ratio

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "benchmarks.md"
INTRO = DOCS / "_benchmarks_intro.md"
NOTES = DOCS / "_benchmarks_notes.md"
DRAWINGS = DOCS / "benchmarks"


@dataclass(frozen=True)
class Sources:
    """All that the page is of: the grid's results, the other figures, memory, products."""

    results: Results
    record: Record | None = None
    memory: tuple[memory.Row, ...] = ()
    products: tuple[products.Row, ...] = ()


def read(path: Path) -> Sources:
    """The grid's file, and those beside it: the other figures', memory's and the products'.

    :class:`ResultsError` where one can't be read, or the figures are another machine's.
    """
    figures = path.with_name(FILE.name)
    results = load(path)
    record = load_record(figures, KINDS) if figures.exists() else None
    if record is not None and record.machine != results.machine:
        raise ResultsError(f"{figures} and {path} are of two machines, or numbers of threads")
    return Sources(
        results,
        record,
        rows(path.with_name(memory.FILE.name), memory.SCHEMA, memory.Row),
        rows(path.with_name(products.FILE.name), products.SCHEMA, products.Row),
    )


def others(path: Path) -> tuple[Sources, ...]:
    """Other machines' results: files of the same name in the folders beside this one."""
    return tuple(read(found) for found in sorted(path.parent.glob(f"*/{path.name}")))


def page(of: Sources, elsewhere: Sequence[Sources] = ()) -> str:
    """The whole page; what it says of causes is in ``docs/_benchmarks_notes.md``."""
    results = of.results
    parts = [
        "<!-- Written by benchmarks/page.py. Do not edit: change docs/_benchmarks_*.md. -->",
        "# Benchmarks",
        INTRO.read_text(encoding="utf-8").strip(),
        "## The machine",
        _machine(of),
        "## Against the targets",
        targets.section(results, of.record, of.memory),
    ]
    if NOTES.exists():
        parts.append(NOTES.read_text(encoding="utf-8").strip())
    parts += _figures(of)
    drawn_figures = drawn(results)
    for peer in PEERS.values():
        of_peer = [row for row in results.rows if row.peer == peer.name]
        if of_peer:
            parts.append(f"## Beside {peer.title}")
            if peer.name in drawn_figures:
                parts.append(f"![times faster, by hidden size](benchmarks/{peer.name}.svg)")
            parts.append(_rows(of_peer))
    for other in elsewhere:
        parts += [
            f"## On another machine: {other.results.machine.processor}",
            _machine(other),
            targets.section(other.results, other.record, other.memory),
        ]
        if other.products:
            parts += ["### The products around the loop", products_page.section(other.products)]
    return "\n\n".join(parts) + "\n"


def _figures(of: Sources) -> list[str]:
    parts: list[str] = []
    for figure in FIGURES.values():
        measured = of.record.rows(figure.name) if of.record else ()
        if measured:
            parts += [f"## {figure.title}", figure.intro, figure.section(measured)]
    if of.memory:
        intro = (
            "What training takes at most beside its input, its parameters and the output's "
            "gradient, resident in a process of its own."
        )
        parts += ["## Peak memory", intro, memory_page.section(of.memory)]
    if of.products:
        intro = (
            "The products before and after the loop run on our own kernel. Its time beside other "
            "libraries', over the cells and points of the grid: the product with x, the gradient "
            "of x, and that of the weights."
        )
        parts += ["## The products around the loop", intro, products_page.section(of.products)]
    return parts


def _machine(of: Sources) -> str:
    results, machine = of.results, of.results.machine
    facts = [
        ("processor", machine.processor),
        ("instructions", machine.isa),
        ("caches of a core", machine.caches),
        ("threads", str(machine.threads)),
        ("system", machine.system),
    ]
    for number, run in enumerate(results.runs):
        if any(row.run == number for row in results.rows):
            facts += _run("peers", run)
    measured = of.record.measured if of.record else ()
    for run in {m.run.started: m.run for m in measured}.values():
        names = ", ".join(m.figure for m in measured if m.run == run)
        facts += _run(names, run)
    return table(("", ""), facts)


def _run(what: str, run: Run) -> list[tuple[str, str]]:
    used = ", ".join(f"{name} {version}" for name, version in run.versions.items())
    said = f"{what}: commit {run.commit}, load {run.load:.1f}; {used}"
    return [
        (f"run of {run.started}", said),
        *(("its limits", _limits(limits)) for limits in run.limits),
    ]


def _limits(limits: Limits) -> str:
    read = ", ".join(f"{_size(r.bytes)} {r.gb_s:.0f}" for r in limits.readings)
    threads = f"{limits.threads} thread{'s' * (limits.threads > 1)}"
    return f"{threads}: {limits.gflops:.0f} GFLOP/s; GB/s by bytes a thread: {read}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes >> 20}M" if n_bytes >= 1 << 20 else f"{n_bytes >> 10}K"


def _rows(of_peer: Sequence[Row]) -> str:
    modes = [mode for mode in MODES if any(row.mode == mode for row in of_peer)]
    compiles = any(row.peer in ("compile", "jax") for row in of_peer)
    header = ["cell", "T", "B", "D", "H"]
    for mode in modes:
        header += [f"{mode}: peer, ms", "ours, ms", "times faster", "of the limit"]
        header += ["first call: peer, s", "ours, s"] if compiles else []
    width = 6 if compiles else 4
    by_key = {(row.cell, row.point, row.mode): row for row in of_peer}
    order = {cell: number for number, cell in enumerate((*DROP_IN, *CUSTOM))}
    places = sorted({(row.cell, row.point) for row in of_peer}, key=lambda p: (order[p[0]], p[1]))
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
        ratio(row),
        f"{row.of_limit:.0%}",
    ]
    return columns + ([f"{row.first_theirs_s:.1f}", f"{row.first_ours_s:.1f}"] if compiles else [])


def main() -> None:
    """Write the page and its figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=DIRECTORY / "full.json")
    try:
        path = parser.parse_args().file
        sources, elsewhere = read(path), others(path)
        write(sources.results, DRAWINGS)
    except (Missing, ResultsError) as error:
        sys.exit(f"python -m benchmarks.page: {error}")
    PAGE.write_text(page(sources, elsewhere), encoding="utf-8")
    print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
