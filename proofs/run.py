"""Run the proofs and keep what came of them in ``proofs/results``, a line of JSON a run.

    python -m proofs.run ../shared/data --only surnames --cells lstm,gru --seeds 0,1,2

Each run is the command that a user would type, in a process of its own; a run that is there already
is left out. ``python -m proofs.page`` makes ``docs/results.md`` of the results.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import machine
from proofs.table import PROOFS, RESULTS, SETTINGS, Proof

ROOT = Path(__file__).parent.parent

CELLS = ("lstm", "gru", "rnn", "proofs/cell.py:light_gru")
"""What is compared: the three of the textbooks and a cell of one's own."""


@dataclass(frozen=True)
class Run:
    """What came of one command.

    Attributes:
        proof: Which one.
        cell: The cell, as the command names it.
        seed: The seed.
        command: What was typed, but for where the data and the model are.
        figures: Those of the report.
        parameters: Of the model.
        steps: Updates made.
        best_step: Of the model that is reported on.
        seconds: Of the training by the clock.
        cpu_seconds: Of the whole command, all threads together; None where it was not measured.
        threads: OMP_NUM_THREADS.
        machine: What it ran on.
    """

    proof: str
    cell: str
    seed: int
    command: str
    figures: list[dict[str, Any]]
    parameters: int
    steps: int
    best_step: int
    seconds: float
    cpu_seconds: float | None
    threads: int
    machine: str


def results(name: str) -> list[Run]:
    """The runs that are kept of a proof, or of a variant of one."""
    path = RESULTS / f"{name}.jsonl"
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [Run(**json.loads(line)) for line in lines]


def keep(run: Run, name: str) -> None:
    """Puts a run among the results, in the place of one with the same cell and seed."""
    others = [r for r in results(name) if (r.cell, r.seed) != (run.cell, run.seed)]
    runs = sorted([*others, run], key=lambda r: (CELLS.index(r.cell), r.seed))
    RESULTS.mkdir(exist_ok=True)
    lines = [json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in runs]
    (RESULTS / f"{name}.jsonl").write_text("".join(lines), "utf-8")


def carry_out(proof: Proof, cell: str, seed: int, words: Sequence[str], output: Path) -> Run:
    """Runs the command of a proof, which shows its progress, and reads what it left.

    Raises:
        CalledProcessError: where the command fails.
    """
    before, typed = cpu_seconds(), command(proof, cell, seed, words)
    train(typed, output)
    further = [] if proof.further is None else proof.further(output, words, seed)
    found = outcome(proof, cell, seed, typed, output, cpu_seconds() - before)
    return replace(found, figures=found.figures + [asdict(figure) for figure in further])


def command(proof: Proof, cell: str, seed: int, words: Sequence[str]) -> list[str]:
    """The words of a proof's command, but for where the model goes."""
    settings = str(SETTINGS / f"{proof.name}.yaml")
    return ["train", proof.kind, *words, "--config", settings, "--cell", cell, "--seed", str(seed)]


def train(words: Sequence[str], output: Path) -> None:
    """Runs a command in a process of its own.

    Raises:
        CalledProcessError: where it fails.
    """
    subprocess.run(
        [sys.executable, "-m", "unrolled", *words, "--output", str(output), "--overwrite"],
        cwd=ROOT,
        check=True,
    )


def outcome(
    proof: Proof, cell: str, seed: int, typed: Sequence[str], output: Path, spent: float | None
) -> Run:
    """What a command left in a directory; ``spent`` is its processor time in seconds."""
    training = output / "training"
    report = json.loads((training / "report.json").read_text("utf-8"))
    timing = _last(training / "timing.jsonl")
    checkpoint = json.loads(max(training.glob("step-*.json")).read_text("utf-8"))
    progress = checkpoint["values"]["progress"]
    return Run(
        proof.name, cell, seed, _shown(typed), report["figures"],
        _parameters(output), progress["step"], progress["best_step"] or progress["step"],
        timing["seconds"], spent, int(os.environ.get("OMP_NUM_THREADS", os.cpu_count() or 1)),
        machine().processor,
    )  # fmt: skip


def _shown(words: Sequence[str]) -> str:
    """A command as a user would type it, without the folders of the data."""
    paths = (Path(w) if Path(w).is_absolute() else None for w in words)
    named = [
        word if path is None else str(path.relative_to(ROOT)) if ROOT in path.parents else path.name
        for word, path in zip(words, paths, strict=True)
    ]
    return " ".join(["unrolled", *named])


def _parameters(output: Path) -> int:
    from unrolled.models import load

    return sum(p.numel() for p in load(output).parameters())


def cpu_seconds() -> float:
    """What all processes that ended so far have used."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _last(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8").splitlines()[-1])


def main() -> None:
    """Reads the command line and runs what is not there yet."""
    names = [proof.name for proof in PROOFS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Formatter)
    parser.add_argument("data", type=Path, help="the folder of the public data")
    parser.add_argument("--only", default=",".join(names), help="proofs, with commas between")
    parser.add_argument("--cells", default=",".join(CELLS), help="cells, with commas between")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, with commas between")
    parser.add_argument("--again", action="store_true", help="also run what is there already")
    options = parser.parse_args()
    asked = options.only.split(",")
    if unknown := set(asked) - set(names):
        parser.error(f"there is no proof {', '.join(unknown)}: there are {', '.join(names)}")
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        for proof in PROOFS:
            if proof.name not in asked:
                continue
            words = proof.data(options.data.resolve(), work)
            for cell in options.cells.split(","):
                for seed in map(int, options.seeds.split(",")):
                    there = {(r.cell, r.seed) for r in results(proof.name)}
                    if (cell, seed) not in there or options.again:
                        print(f"── {proof.name}, {cell}, seed {seed}", flush=True)
                        found = carry_out(proof, cell, seed, words, work / "model" / proof.name)
                        keep(found, proof.name)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    pass


if __name__ == "__main__":
    main()
