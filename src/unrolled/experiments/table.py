"""The table of experiments, and what each leaves: figures, numbers and a text."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from unrolled.data.files import write_together
from unrolled.errors import DataError
from unrolled.experiments import counting, exploding, memory, pictures, speed, vanishing
from unrolled.experiments.encoding import decode, encode
from unrolled.experiments.finding import Finding, Progress, Table, silent
from unrolled.inspect import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BudgetName = Literal["small", "full"]

_VERSION = 1


@dataclass(frozen=True)
class Experiment:
    """What there is to know of one experiment.

    Attributes:
        title: A heading.
        question: What it asks, in a sentence.
        caption: What its figure shows.
        result: The class of its results.
        budgets: By name.
        run: Measures.
        table: The numbers.
        findings: The claims and what became of them.
        picture: Draws.
    """

    title: str
    question: str
    caption: str
    result: type[Any]
    budgets: Mapping[str, Any]
    run: Callable[[Any, int, Progress], Any]
    table: Callable[[Any], Table]
    findings: Callable[[Any], tuple[Finding, ...]]
    picture: Callable[[Any], Figure]


def _of(module: Any, title: str, question: str, caption: str, picture: Any) -> Experiment:
    return Experiment(
        title, question, caption, module.Result, module.BUDGETS, module.run, module.table,
        module.findings, picture,
    )  # fmt: skip


EXPERIMENTS: dict[str, Experiment] = {
    "vanishing": _of(
        vanishing,
        "Vanishing gradients",
        "How much of the gradient is left after so many steps, before training?",
        "The share of the gradient that is left over the distance: medians over sequences and "
        "starts; the shaded band goes from the lowest to the highest decile.",
        pictures.vanishing,
    ),
    "exploding": _of(
        exploding,
        "Exploding gradients",
        "What does a recurrent matrix scaled past 1 do to training, with clipping and without?",
        "Above and in the middle: gradient norm and loss during training with the largest scale, a "
        "line for each start; a line that ends was stopped by inf or NaN. Below: the last loss "
        "over the scale, medians over starts.",
        pictures.exploding,
    ),
    "memory": _of(
        memory,
        "Short-term memory",
        "What is the longest lag that each cell learns to bridge within a fixed budget?",
        "The longest lag that each cell bridges: a mark for each start, a bar to the worst of "
        "them. An arrow says that there was no longer lag to try, an open mark that the shortest "
        "was not bridged.",
        pictures.memory,
    ),
    "counting": _of(
        counting,
        "Counting",
        "How far do cells generalise that learned to count, and is the cell state the counter?",
        "Above: the largest n up to which every string is right, a mark for each start, a bar to "
        "the middle one. Below: the unit that counts best along a string twice as long as those "
        "learned from, each scaled to its own range.",
        pictures.counting,
    ),
    "speed": _of(
        speed,
        "Speed",
        "What do an update, and the way to a given loss, cost with RNN, GRU and LSTM?",
        "Left: the loss over the processor's time, a line for each round. Right: the time of an "
        "update and the time to the given loss beside the LSTM's in the same round: medians, with "
        "the lowest and highest.",
        pictures.speed,
    ),
}


@dataclass(frozen=True)
class Record:
    """One run of an experiment, as its JSON file holds it.

    Attributes:
        name: The experiment's.
        budget: The name of the budget.
        seed: Of its random numbers.
        torch: The version that computed it.
        result: What was measured.
    """

    name: str
    budget: str
    seed: int
    torch: str
    result: Any

    @property
    def experiment(self) -> Experiment:
        """Which was run."""
        return EXPERIMENTS[self.name]

    def json(self) -> str:
        """As a file has it."""
        content = {
            "format": "unrolled experiment",
            "version": _VERSION,
            "experiment": self.name,
            "budget": self.budget,
            "seed": self.seed,
            "torch": self.torch,
            "findings": encode(self.experiment.findings(self.result)),
            "result": encode(self.result),
        }
        return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"

    def text(self) -> str:
        """The question, the numbers and the findings, for a terminal."""
        of = self.experiment
        found = [
            f"{finding.verdict.upper()}: {finding.claim}\n  {finding.measured}"
            for finding in of.findings(self.result)
        ]
        given = f"unrolled experiment {self.name} --budget {self.budget} --seed {self.seed}"
        return "\n\n".join(
            [f"{of.title}: {of.question}", of.table(self.result).text(), *found, given]
        )


def run(
    name: str, budget: BudgetName = "small", seed: int = 0, progress: Progress = silent
) -> Record:
    """Run the experiment of that name.

    Args:
        name: A key of :data:`EXPERIMENTS`.
        budget: "small" takes less than a minute on one core, "full" minutes.
        seed: Of all random numbers.
        progress: Told how far it is.

    Raises:
        DataError: where there is no such experiment.
    """
    if name not in EXPERIMENTS:
        raise DataError(f"there is no experiment {name!r}: there are {', '.join(EXPERIMENTS)}")
    of = EXPERIMENTS[name]
    result = of.run(of.budgets[budget], seed, progress)
    # What is read from a file must say what is said now.
    result = decode(of.result, encode(result))
    return Record(name, budget, seed, torch.__version__.partition("+")[0], result)


def read(path: Path) -> Record:
    """A run from the file that :func:`write` made.

    Raises:
        DataError: where it can't be read, or is something else.
    """
    try:
        content = json.loads(path.read_bytes())
        of = EXPERIMENTS[content["experiment"]]
        result = decode(of.result, content["result"])
        name, budget, seed, made_by = (
            content[key] for key in ("experiment", "budget", "seed", "torch")
        )
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no result of an experiment: {error}") from error
    return Record(name, budget, seed, made_by, result)


def write(record: Record, directory: Path) -> list[Path]:
    """Leaves the figure as PNG and SVG, the numbers as JSON and the text, and says where.

    Raises:
        UserError: where matplotlib is not installed.
        DataError: where they can't be written.
    """
    figure = record.experiment.picture(record.result)
    pictures_ = [style.save(figure, directory / f"{record.name}.{kind}") for kind in ("png", "svg")]
    numbers, text = directory / f"{record.name}.json", directory / f"{record.name}.txt"
    write_together({numbers: record.json().encode(), text: f"{record.text()}\n".encode()})
    return [*pictures_, numbers, text]
