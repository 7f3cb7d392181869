"""``unrolled experiment``: claims about recurrent networks, put to the test."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from unrolled.cli.options import Options, pick
from unrolled.errors import UserError
from unrolled.experiments import table
from unrolled.experiments.finding import Progress
from unrolled.experiments.table import EXPERIMENTS, BudgetName
from unrolled.inspect import style


@dataclass(frozen=True)
class ExperimentConfig:
    """What is measured, and where it goes.

    Attributes:
        budget: How much is measured: small takes less than a minute on one core, full minutes.
        seed: Of all random numbers.
        output: The directory of the figure, the numbers and the text.
    """

    budget: BudgetName = "small"
    seed: int = 0
    output: str = "experiments"

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise UserError(f"seed is at least 0, not {self.seed}")


def run(arguments: list[str]) -> int:
    """Measures, and gives the exit status."""
    options = Options(
        "experiment",
        "NAME [options]",
        "Put claims about recurrent networks to the test: "
        + " ".join(f"{name}: {of.question}" for name, of in EXPERIMENTS.items())
        + " Writes a figure (PNG and SVG), the numbers (JSON) and what they say (text).",
        "unrolled experiment vanishing --output experiments",
    )
    options.add_argument("name", type=str, metavar="NAME", help=", ".join(EXPERIMENTS))
    options.add_fields(ExperimentConfig)
    values = options.read(["--output" if word == "-o" else word for word in arguments])
    config = pick(ExperimentConfig, values)
    if Path(config.output).is_file():
        raise UserError(f"{config.output} is a file: name a directory with --output")
    style.figure(1.0)  # says at once, not after minutes, that there is nothing to draw with
    with _bar() as progress:
        record = table.run(values["name"], config.budget, config.seed, progress)
    print(record.text())
    print()
    for path in table.write(record, Path(config.output)):
        print(path)
    return 0


@contextmanager
def _bar() -> Generator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    form = "{percentage:3.0f}% |{bar}| {desc}, {remaining} left"
    with tqdm(total=1.0, bar_format=form, dynamic_ncols=True, disable=None, leave=False) as bar:

        def progress(doing: str, share: float) -> None:
            bar.set_description_str(doing, refresh=False)
            bar.update(share - bar.n)

        yield progress
