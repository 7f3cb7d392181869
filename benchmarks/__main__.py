"""``python -m benchmarks``: measure, print each row as it comes, write ``benchmarks/results/``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

from benchmarks import limits, machine, summary
from benchmarks.peers import OURS, PEERS, Case, cases
from benchmarks.peers.contestant import Missing, package
from benchmarks.problems import CUSTOM, DROP_IN, MODES
from benchmarks.results import DIRECTORY, Key, Refusal, Results, ResultsError, Row, Run, load, save
from benchmarks.session import FULL, QUICK, Effort, measure

LOAD_OF_OTHERS = 0.5


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Unrolled's CPU kernels beside their peers.",
        epilog="Results of a run with filters go into the file's other rows, in place of the "
        "same rows of earlier runs.",
    )
    parser.add_argument("--quick", action="store_true", help="few points, few rounds: 2 minutes")
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=[], help="only these peers")
    parser.add_argument(
        "--cell", nargs="+", choices=(*DROP_IN, *CUSTOM), default=[], help="only these cells"
    )
    parser.add_argument("--mode", nargs="+", choices=MODES, default=[], help="only these modes")
    parser.add_argument(
        "--points",
        nargs="+",
        default=[],
        metavar="SIZES",
        help="only points of these sizes, such as B=1 or T=100,B=32,H=256; several add up",
    )
    parser.add_argument("--threads", type=int, default=2, help="threads of all (default: 2)")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="benchmarks/results/full.json, or quick.json with --quick, where none is given",
    )
    parser.add_argument("--resume", action="store_true", help="leave out what the file has already")
    return parser.parse_args(words)


def remaining(found: Sequence[Case], results: Results) -> tuple[Case, ...]:
    """The cases, without the peers that the results have a row for."""
    have = {row.key for row in results.rows}
    left = (
        replace(c, peers=tuple(p for p in c.peers if Key(p, c.cell, c.mode, c.point) not in have))
        for c in found
    )
    return tuple(case for case in left if case.peers)


def earlier(path: Path, here: machine.Machine) -> Results:
    """The file's results, none where there is no file.

    :class:`ResultsError` where it holds another machine's, or another number of threads.
    """
    if not path.exists():
        return Results(here)
    results = load(path)
    if results.machine != here:
        raise ResultsError(
            f"{path} holds {results.machine}; this is {here}: choose another --out, or remove the "
            "file"
        )
    return results


def measure_all(todo: Sequence[Case], results: Results, path: Path, effort: Effort) -> Results:
    """Measure under the last run's limits; the file is written after each case."""
    run = len(results.runs) - 1
    of_machine = results.runs[run].of(results.machine.threads)
    builds = {name: peer.build for name, peer in PEERS.items()}
    start = perf_counter()
    for number, case in enumerate(todo, 1):
        found = list(measure(case, OURS, builds, of_machine, effort, run))
        results = results.with_found(found)
        save(results, path)
        for of in found:
            elapsed = f"{perf_counter() - start:5.0f} s {number:3}/{len(todo)}"
            print(f"{elapsed}  {line(of)}", flush=True)
    return results


def line(of: Row | Refusal) -> str:
    """A row or a refusal as it is printed when it comes."""
    what = f"{of.peer:12} {of.cell:18} {of.mode:9} {of.point!s:20}"
    if isinstance(of, Refusal):
        return f"{what} REFUSED: {of.reason}"
    return (
        f"{what} {of.theirs.median * 1e3:9.3f} ms, ours {of.ours.median * 1e3:9.3f} ms: "
        f"{of.ratio.median:6.2f} ({of.ratio.low:.2f} to {of.ratio.high:.2f}), "
        f"{of.of_limit:4.0%} of the limit"
    )


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a peer was refused because its outputs differ from ours."""
    arguments = _arguments(words)
    machine.pin(arguments.threads)
    todo = cases(arguments.quick, arguments.peer, arguments.cell, arguments.mode, arguments.points)
    if not todo:
        raise ValueError("the filters leave nothing to measure: no peer has such points")
    path = arguments.out or DIRECTORY / ("quick.json" if arguments.quick else "full.json")
    results = earlier(path, machine.machine())
    if arguments.resume:
        todo = remaining(todo, results)
    # Before the first minute is spent.
    for needed in sorted({name for case in todo for p in case.peers for name in PEERS[p].packages}):
        package(needed)
    load_before = machine.load()
    if load_before > LOAD_OF_OTHERS:
        print(f"warning: other programs are running (load {load_before:.1f}); times will be off")
    of_threads = limits.measure(*sorted({1, arguments.threads}))
    for of in of_threads:
        print(f"{of.threads} thread{'s' * (of.threads > 1)}: {of.gflops:.0f} GFLOP/s at most")
    started = datetime.now(timezone.utc).isoformat(timespec="seconds")
    versions, commit = machine.versions(), machine.commit()
    results = results.with_run(Run(started, commit, load_before, versions, of_threads))
    with machine.empty_caches():
        results = measure_all(todo, results, path, QUICK if arguments.quick else FULL)
    print(summary.text(results))
    return 1 if results.refused else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Missing, ResultsError, ValueError, limits.NoLimits) as error:
        sys.exit(f"python -m benchmarks: {error}")
