"""``python -m benchmarks.figures``: what the grid of peers does not measure, kept as JSON."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

from benchmarks import limits, machine
from benchmarks.agreement import Disagreement
from benchmarks.figures.catalogue import FIGURES, KINDS
from benchmarks.figures.fresh import ChildFailed
from benchmarks.figures.record import FILE, Measured, Record, load, save
from benchmarks.figures.setting import Setting
from benchmarks.peers.contestant import Missing
from benchmarks.results import Run
from benchmarks.stored import ResultsError


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.figures",
        description="Measure the loop alone, cells beside each other, first calls, overhead, …",
        epilog="A figure's rows take the place of all its rows in the file.",
    )
    parser.add_argument("--quick", action="store_true", help="few points, few rounds: 2 minutes")
    parser.add_argument("--only", nargs="+", choices=FIGURES, default=[], help="only these")
    parser.add_argument("--threads", type=int, default=2, help="threads of all (default: 2)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help=f"benchmarks/results/{FILE.name}, or figures-quick.json with --quick, where none is "
        "given",
    )
    return parser.parse_args(words)


def earlier(path: Path, here: machine.Machine) -> Record:
    """The file's figures, none where there is no file.

    :class:`ResultsError` where it holds another machine's, or another number of threads.
    """
    if not path.exists():
        return Record(here)
    record = load(path, KINDS)
    if record.machine != here:
        raise ResultsError(
            f"{path} holds {record.machine}; this is {here}: choose another --out, or remove the "
            "file"
        )
    return record


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print each row as it comes, and write the file after each figure."""
    arguments = _arguments(words)
    machine.pin(arguments.threads)
    path = arguments.out or (FILE.with_name("figures-quick.json") if arguments.quick else FILE)
    record = earlier(path, machine.machine())
    load_before = machine.load()
    (of_threads,) = limits.measure(arguments.threads)
    print(f"{of_threads.threads} threads: {of_threads.gflops:.0f} GFLOP/s at most")
    run = Run(
        datetime.now(timezone.utc).isoformat(timespec="seconds"),
        machine.commit(),
        load_before,
        machine.versions(),
        (of_threads,),
    )
    setting = Setting(arguments.quick, arguments.threads, of_threads.gflops)
    start = perf_counter()
    for name, figure in FIGURES.items():
        if arguments.only and name not in arguments.only:
            continue
        rows: list[object] = []
        for row in figure.measure(setting):
            rows.append(row)
            print(f"{perf_counter() - start:5.0f} s  {name:10}  {figure.line(row)}", flush=True)
        record = record.having(Measured(name, run, tuple(rows)))
        save(record, path)
        for of in figure.verdicts(rows):
            print(f"{name}: {of.what}: {of.measured}, asked {of.asked}: {of.word} ({of.note})")


if __name__ == "__main__":
    try:
        main()
    except (ChildFailed, Disagreement, Missing, ResultsError, ValueError, limits.NoLimits) as error:
        sys.exit(f"python -m benchmarks.figures: {error}")
