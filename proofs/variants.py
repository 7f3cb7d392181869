"""Proofs with a part of the model taken away, to see what that part is worth.

    python -m proofs.variants ../shared/data

Each is the proof's command with further options, for its first cell and three seeds; a run that is
there already is left out. The results stand in ``proofs/results/PROOF.VARIANT.jsonl``, and on the
page below the proof's own.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proofs.run import command, cpu_seconds, keep, outcome, results, train
from proofs.table import PROOFS

_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Variant:
    """A proof with other options.

    Attributes:
        proof: The proof's name.
        name: A word for it.
        said: What it is, on the page.
        options: What its command has besides the proof's.
    """

    proof: str
    name: str
    said: str
    options: Sequence[str]

    @property
    def results(self) -> str:
        """The name of its results."""
        return f"{self.proof}.{self.name}"


_SERIES = ("sunspots", "co2")

VARIANTS: tuple[Variant, ...] = (
    *(
        Variant(proof, "recurrent", "without the linear map of the last values", ("--lags", "0"))
        for proof in _SERIES
    ),
    *(
        Variant(
            proof, "linear", "the linear map, and a recurrent part of one unit only",
            ("--hidden-size", "1", "--head-size", "1"),
        )
        for proof in _SERIES
    ),
)  # fmt: skip


def main() -> None:
    """Reads the command line and runs what is not there yet."""
    parser = argparse.ArgumentParser(description="Run the variants of proofs.")
    parser.add_argument("data", type=Path, help="the folder of the public data")
    data = parser.parse_args().data.resolve()
    by_name = {proof.name: proof for proof in PROOFS}
    with tempfile.TemporaryDirectory() as directory:
        work = Path(directory)
        for variant in VARIANTS:
            proof = by_name[variant.proof]
            words = proof.data(data, work)
            for seed in _SEEDS:
                if seed in {run.seed for run in results(variant.results)}:
                    continue
                print(f"── {variant.results}, seed {seed}", flush=True)
                cell, before = results(proof.name)[0].cell, cpu_seconds()
                typed = [*command(proof, cell, seed, words), *variant.options]
                train(typed, work / "model")
                run = outcome(proof, cell, seed, typed, work / "model", cpu_seconds() - before)
                keep(run, variant.results)


if __name__ == "__main__":
    main()
