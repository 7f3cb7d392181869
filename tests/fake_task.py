"""A kind of task with a model that learns nothing, for tests of the commands around all kinds.

The model says of a line how many characters it has, at most ``limit``; data are files with such a
number and a text on each line.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from unrolled.data.files import write_together
from unrolled.errors import DataError
from unrolled.tasks.confusion import Confusion
from unrolled.tasks.kind import Kind
from unrolled.tasks.report import Figure, Report


@dataclass(frozen=True)
class FakeData:
    """How data is read.

    Attributes:
        separator: What stands between the number and the text.
        skip_bad: How many lines without a number to skip.
    """

    separator: str = ","
    skip_bad: int = 0


@dataclass(frozen=True)
class FakeConfig:
    """What the model is.

    Attributes:
        limit: The largest number that it knows.
        cell: Nothing.
    """

    limit: int = 9
    cell: str = "lstm"


@dataclass(frozen=True)
class FakePrediction:
    """How predictions are made.

    Attributes:
        twice: Give the number twice as large.
    """

    twice: bool = False


class FakeModel:
    """Counts characters."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.asked: list[int] = []

    def save_pretrained(self, directory: Path, *, overwrite: bool = False) -> None:
        content = {"format": "unrolled classifier", "version": 1, "config": {"limit": self.limit}}
        write_together({directory / "config.json": json.dumps(content).encode()})

    @staticmethod
    def from_pretrained(directory: str, device: torch.device | str = "cpu") -> FakeModel:
        content = json.loads((Path(directory) / "config.json").read_text())
        return FakeModel(content["config"]["limit"])


def predict(
    model: FakeModel, lines: Iterable[str], how: FakePrediction
) -> Iterator[dict[str, Any]]:
    for line in lines:
        if len(line) > model.limit:
            yield {"error": f"it has {len(line)} characters, more than {model.limit}"}
        else:
            yield {"text": line, "length": len(line) * (2 if how.twice else 1)}


def evaluate(model: FakeModel, words: Sequence[str], data: FakeData) -> Report:
    counts = np.zeros((model.limit + 1,) * 2, np.int64)
    for word in words:
        for line in Path(word).read_text().splitlines():
            number, found, text = line.partition(data.separator)
            if not found:
                raise DataError(f"{word} has no {data.separator!r} in {line!r}")
            counts[int(number), min(len(text), model.limit)] += 1
    n = int(counts.sum())
    accuracy = float(np.trace(counts)) / n
    figures = (
        Figure("accuracy", accuracy, 0.4, 0.9, 0.5, "majority class", "higher", "%"),
        Figure("wrong", 1 - accuracy, float("nan"), 1.0, None, "", "lower"),
    )
    confusion = Confusion(tuple(map(str, range(model.limit + 1))), counts)
    details = {"confusion": confusion.to_details()}
    return Report(f"{n} lines", figures, {"by class": "a  b\n1  2"}, details)


def _not_here(*_: object) -> Any:
    raise NotImplementedError


KIND = Kind(
    name="classify",
    summary="a test",
    reads="Lines.",
    example="lines.txt",
    model=FakeModel,
    data=FakeData,
    config=FakeConfig,
    defaults={},
    prepare=_not_here,
    evaluate=evaluate,
    prediction=FakePrediction,
    predict=predict,
)
