"""Make ``docs/experiments.md`` of the results in ``docs/experiments``.

python -m proofs.experiments                 writes the page, the figures and the findings anew
python -m proofs.experiments --run NAME…     measures these first, on the default budget
python -m proofs.experiments --check         changes nothing, and exits 1 where it is stale
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from unrolled.cli.experiment import ExperimentConfig
from unrolled.experiments.encoding import encode
from unrolled.experiments.table import EXPERIMENTS, Record, read, run
from unrolled.inspect import style

DOCS = Path(__file__).parent.parent / "docs"
PAGE = DOCS / "experiments.md"
RESULTS = DOCS / "experiments"

_INTRO = """<!-- Written by python -m proofs.experiments. -->
# Experiments

What is said of recurrent networks in lectures and notes, put to the test: each experiment is one
command that takes less than a minute on one core (`--budget full`: minutes), draws one figure and
says what it measured, also where that contradicts the claim. The sentences below are made of the
measured numbers by rules; none was typed. They hold for the networks, budgets and seeds that were
tried, and for no others: `--seed` and `--budget full` try more.

`python -m proofs.experiments --run NAME` measures one anew, `python -m proofs.experiments` makes
this page."""


def page() -> str:
    """The whole page."""
    return "\n\n".join([_INTRO, *map(_section, EXPERIMENTS)]) + "\n"


def record(name: str) -> Record:
    """The result that is kept of an experiment."""
    return read(RESULTS / f"{name}.json")


def _section(name: str) -> str:
    held = record(name)
    of = held.experiment
    budget = ", ".join(
        f"{key} {' '.join(map(str, value)) if isinstance(value, list) else value}"
        for key, value in encode(held.result.budget).items()
    )
    return "\n\n".join(
        [
            f"## {of.title}",
            of.question,
            f"```bash\nunrolled experiment {name}\n```",
            f"![{of.title}: {of.caption}](experiments/{name}.png)",
            f"*{of.caption}*",
            of.table(held.result).markdown(),
            "\n".join(
                f"- **{found.verdict.capitalize()}:** {found.claim}\n  {found.measured}"
                for found in of.findings(held.result)
            ),
            f"Budget {held.budget} ({budget}), seed {held.seed}, torch {held.torch}.",
        ]
    )


def main() -> None:
    """Reads the command line; measures, and writes or checks the page."""
    parser = argparse.ArgumentParser(description="Make docs/experiments.md.")
    parser.add_argument("--check", action="store_true", help="say whether it is stale")
    parser.add_argument("--run", nargs="*", default=[], choices=list(EXPERIMENTS), metavar="NAME")
    given = parser.parse_args()
    if given.check:
        if not PAGE.exists() or PAGE.read_text("utf-8") != page():
            sys.exit("docs/experiments.md is stale: python -m proofs.experiments")
        return
    default = ExperimentConfig()
    for name in EXPERIMENTS:
        held = run(name, default.budget, default.seed) if name in given.run else record(name)
        (RESULTS / f"{name}.json").write_text(held.json(), "utf-8")
        style.save(held.experiment.picture(held.result), RESULTS / f"{name}.png")
    PAGE.write_text(page(), "utf-8")


if __name__ == "__main__":
    main()
