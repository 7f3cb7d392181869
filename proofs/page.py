"""Make ``docs/results.md`` of the runs in ``proofs/results``.

python -m proofs.page           writes it
python -m proofs.page --check   changes nothing, and exits 1 where it is stale
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from proofs.run import CELLS, Run, results
from proofs.table import PROOFS, Proof, Target
from proofs.variants import VARIANTS

PAGE = Path(__file__).parent.parent / "docs" / "results.md"

_INTRO = """<!-- Written by python -m proofs.page: run the proofs, then make the page. -->
# Results

What the tasks reach on public data, each by one command. The settings stand in `proofs/settings`;
the figures are those of the report at the command's end, on the part that is held out, with its own
95 % interval; where a cell was trained with several seeds, their median, lowest and highest.
Settings were chosen for the first cell of a table, on validation parts, and are the same for each
cell, so that the cells are compared as they are and not as they could be; `light_gru` is a cell of
one's own (`proofs/cell.py`). Where the steps are "so many of so many", the model is that of the
step that was best on validation; an early one tells that training went wrong afterwards, as that of
other cells can at a rate that suits an LSTM. Minutes are those of training by the clock, on a
shared machine, and say little more than their order; processor minutes are those of the whole
command, evaluation and report with it, all threads together.

`python -m proofs.run DATA` runs what is missing, `python -m proofs.page` makes this page."""


def page() -> str:
    """The whole page."""
    return "\n\n".join([_INTRO, *filter(None, map(_section, PROOFS))]) + "\n"


def _section(proof: Proof) -> str:
    runs = results(proof.name)
    if not runs:
        return f"## {proof.title}\n\nNot run yet. {proof.protocol}"
    first = runs[0]
    parts = [
        f"## {proof.title}",
        proof.protocol,
        f"```bash\n{first.command}\n```",
        _targets(proof, [r for r in runs if r.cell == first.cell]),
        _cells(proof, runs),
        *_variants(proof, [r for r in runs if r.cell == first.cell]),
        f"On {', '.join(dict.fromkeys(r.machine for r in runs))}, {threads(runs)}.",
    ]
    return "\n\n".join(parts)


def threads(runs: Sequence[Run]) -> str:
    """With how many threads the runs were made, and which with others than most."""
    most = statistics.mode(r.threads for r in runs)
    others = [
        f"{_threads(r.threads)} for `{_name(r.cell)}` with seed {r.seed}"
        for r in runs
        if r.threads != most
    ]
    return ", and ".join([_threads(most), *others])


def _threads(n: int) -> str:
    return "one thread" if n == 1 else f"{n} threads"


def _targets(proof: Proof, runs: Sequence[Run]) -> str:
    lines = [
        "| figure | asked | reached | 95 % interval, seed 0 | baseline |",
        "| --- | --- | --- | --- | --- |",
    ]
    for target in proof.targets:
        found = [_figure(run, target.figure) for run in runs]
        middle = _middle(found)
        sign = "≤" if target.better == "lower" else "≥"
        limit = target.limit
        if limit == "baseline":
            asked = "better than the baseline"
        else:
            asked = f"{sign} {_shown(limit, found[0])}"
        verdict = "" if target.reached(middle["value"], middle["baseline"]) else " — **missed**"
        baseline = "" if middle["baseline"] is None else _shown(middle["baseline"], middle)
        lines.append(
            f"| {target.figure} | {asked} | {_spread(found)}{verdict} | "
            f"{_shown(found[0]['low'], middle)} to {_shown(found[0]['high'], middle)} | "
            f"{baseline} ({middle['baseline_name']}) |"
        )
    return "\n".join(lines)


def _cells(proof: Proof, runs: Sequence[Run]) -> str:
    names = [target.figure for target in proof.targets]
    lines = [
        f"| cell | {' | '.join(names)} | parameters | steps | minutes "
        "| processor minutes | seeds |",
        "| --- |" + " --- |" * (len(names) + 5),
    ]
    for cell in CELLS:
        of_cell = [run for run in runs if run.cell == cell]
        if not of_cell:
            continue
        figures = [_spread([_figure(run, name) for run in of_cell]) for name in names]
        lines.append(
            f"| `{_name(cell)}` | {' | '.join(figures)} | "
            f"{of_cell[0].parameters:,} | {_steps(of_cell)} | "
            f"{_minutes([r.seconds for r in of_cell])} | "
            f"{_minutes([r.cpu_seconds for r in of_cell])} | {len(of_cell)} |"
        )
    return "\n".join(lines)


def _name(cell: str) -> str:
    return cell.rpartition(":")[2]


def _steps(runs: Sequence[Run]) -> str:
    """All steps, and which of them made the model that is kept, where it is not the last."""
    steps = statistics.median(r.steps for r in runs)
    best = statistics.median(r.best_step for r in runs)
    return f"{steps:,.0f}" if best == steps else f"{best:,.0f} of {steps:,.0f}"


def _minutes(seconds: Sequence[float | None]) -> str:
    known = [s for s in seconds if s is not None]
    return f"{statistics.median(known) / 60:.1f}" if known else "—"


def _variants(proof: Proof, runs: Sequence[Run]) -> list[str]:
    """What the proof reaches with a part of the model taken away: a table, or nothing."""
    names = [target.figure for target in proof.targets]
    rows = [("as above", runs)]
    rows += [(v.said, results(v.results)) for v in VARIANTS if v.proof == proof.name]
    rows = [(said, found) for said, found in rows if found]
    if len(rows) == 1:
        return []
    lines = [
        "The same with a part of the model taken away:",
        "",
        f"| `{runs[0].cell}` | {' | '.join(names)} | parameters | seeds |",
        "| --- |" + " --- |" * (len(names) + 2),
    ]
    for said, found in rows:
        figures = [_spread([_figure(run, name) for run in found]) for name in names]
        lines.append(f"| {said} | {' | '.join(figures)} | {found[0].parameters:,} | {len(found)} |")
    return ["\n".join(lines)]


def _figure(run: Run, name: str) -> dict[str, Any]:
    return next(figure for figure in run.figures if figure["name"] == name)


def _middle(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The figure of the middle run; of two, the worse is as far from it as the better."""
    return sorted(figures, key=lambda f: f["value"])[(len(figures) - 1) // 2]


def _spread(figures: Sequence[dict[str, Any]]) -> str:
    values = sorted(f["value"] for f in figures)
    shown = _shown(_middle(figures)["value"], figures[0])
    if len(values) == 1:
        return shown
    return f"{shown} ({_shown(values[0], figures[0])} to {_shown(values[-1], figures[0])})"


def _shown(value: float, figure: dict[str, Any]) -> str:
    return f"{100 * value:.2f} %" if figure["unit"] == "%" else f"{value:.3f}"


def reached(proof: Proof, target: Target) -> bool:
    """Whether the middle run of the first cell that was run is as good as it must be."""
    runs = results(proof.name)
    middle = _middle([_figure(r, target.figure) for r in runs if r.cell == runs[0].cell])
    return target.reached(middle["value"], middle["baseline"])


def main() -> None:
    """Reads the command line, and writes or checks the page."""
    parser = argparse.ArgumentParser(description="Make docs/results.md.")
    parser.add_argument("--check", action="store_true", help="say whether it is stale")
    made = page()
    if not parser.parse_args().check:
        PAGE.write_text(made, "utf-8")
    elif not PAGE.exists() or PAGE.read_text("utf-8") != made:
        sys.exit("docs/results.md is stale: python -m proofs.page")


if __name__ == "__main__":
    main()
