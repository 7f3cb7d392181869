"""The data of a classifier: what is read of each row, and how it is encoded."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.bad_rows import BadRows, usable
from unrolled.data.encode import encode_rows
from unrolled.data.examples import Examples
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row
from unrolled.data.rows import Format, Rows, find_rows
from unrolled.data.vocabulary import Kind, Vocabulary
from unrolled.errors import DataError
from unrolled.models.classifier import Classifier, Example, spaced


@dataclass(frozen=True)
class ClassifyData:
    """How labelled examples are read, divided and weighed.

    Attributes:
        text: The column of the text.
        label: The column of the label.
        numbers: Columns of numbers that are read instead of a text, each a list a row, such as
            x,y: as many steps as the lists are long.
        tokens: What a token of a text is: a character, a byte of UTF-8, or a word.
        min_count: Keep only tokens that occur at least so often; the others are "<unk>".
        max_size: Keep at most so many tokens, the most frequent first.
        validation: Data of its own that validates; by default it is taken from the data.
        test: Data of its own that the report is made on; by default it is taken from the data.
        validation_fraction: The share of what is not the test part that validates, of each class.
        test_fraction: The share of the data that the report is made on, of each class.
        adjustment: What is learned for: 0 for accuracy, 1 for macro recall, which finds rare
            classes more often and is wrong more often; between, for their mean with this weight.
        label_smoothing: The share of the target that all classes have in common.
        skip_bad: So many rows that can't be read are skipped, and said; more are an error.
        format: How the files are written; by default as their names say, and where they say
            nothing, a file or folder is a class.
        encoding: How text is encoded.

    Raises:
        DataError: where a value is out of its range.
    """

    text: str = "text"
    label: str = "label"
    numbers: tuple[str, ...] = ()
    tokens: Kind = "word"
    min_count: int = 1
    max_size: int | None = None
    validation: str | None = None
    test: str | None = None
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    adjustment: float = 0.0
    label_smoothing: float = 0.0
    skip_bad: int = 0
    format: Format | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name in ("adjustment", "label_smoothing"):
            if not 0 <= getattr(self, name) <= 1:
                raise DataError(f"{name} is from 0 to 1, not {getattr(self, name)}")


@dataclass(frozen=True)
class Labelled:
    """Labelled rows that can be read, anew at each call.

    Attributes:
        rows: All rows.
        data: What is read of them.
        bad: Where the others are counted.
    """

    rows: Rows
    data: ClassifyData
    bad: BadRows

    @staticmethod
    def find(words: Sequence[str], data: ClassifyData, bad: BadRows) -> Labelled:
        """Those of what a user names.

        Raises:
            DataError: where there is no such data, or it lacks a column.
        """
        needed = (*(data.numbers or (data.text,)), data.label)
        reading = Reading(data.encoding, needed, bad=bad)
        return Labelled(find_rows(words, reading, data.format, "class-files"), data, bad)

    def labels(self) -> list[str]:
        """The label of each."""
        return [label for _, label in usable(self.rows, self.read, self.bad)]

    def texts(self, chosen: NDArray[np.int64]) -> Iterator[str]:
        """The texts at these places, as a vocabulary sees them."""
        wanted = set(chosen.tolist())
        for place, (text, _) in enumerate(usable(self.rows, self.read, self.bad)):
            if place in wanted:
                yield spaced(cast("str", text), self.data.tokens)

    def read(self, row: Row) -> tuple[Example, str]:
        """A row's text or values, and its label.

        Raises:
            DataError: where it lacks one of them, or the values are of unequal lengths.
        """
        label = row.label(self.data.label)
        if self.data.numbers:
            return values_of(row, self.data.numbers), label
        text = row.text(self.data.text)
        if not text.strip():
            raise DataError("the text is empty")
        return text, label

    def examples(self, model: Classifier, directory: Path | None) -> Examples:
        """All of them, encoded as a model reads them: the sequence ``x`` and the value ``label``.

        Raises:
            DataError: where more rows are bad than allowed: those with an unknown label too.
        """

        def encode(row: Row) -> dict[str, NDArray[Any] | float]:
            example, label = self.read(row)
            x = model.encode(example)
            return {
                # Half or a quarter of the room of int64; batches widen it.
                "x": x.astype(np.uint32) if x.dtype == np.int64 else x,
                "label": model.classes.encode(label),
            }

        return encode_rows(self.rows, encode, directory, self.bad)


def vocabulary(rows: Labelled, chosen: NDArray[np.int64]) -> Vocabulary:
    """The tokens of the texts at these places.

    Raises:
        DataError: where none is left.
    """
    data = rows.data
    return Vocabulary.build(
        rows.texts(chosen), data.tokens, data.max_size, data.min_count, eos=False
    )


def moments(examples: Examples) -> tuple[Tensor, Tensor]:
    """The mean and the deviation of each column of real values, over all steps: ``[D]`` each."""
    column = examples.sequences["x"]
    n, total, squares = 0, np.zeros(1), np.zeros(1)
    for row in examples.indices.tolist():
        values = column[row].astype(np.float64)
        n += len(values)
        total = total + values.sum(0)
        squares = squares + np.square(values).sum(0)
    mean = total / n
    # Where squares are large beside the variance the difference may fall below 0.
    variance = np.maximum(squares / n - np.square(mean), 0)
    return torch.from_numpy(mean), torch.from_numpy(np.sqrt(variance))


def values_of(row: Row, columns: Sequence[str]) -> NDArray[np.float32]:
    """Columns of numbers side by side: ``[T, D]``.

    Raises:
        DataError: where one is missing, holds something else, is longer than another, or has a
            number beyond float32.
    """
    lists = [row.numbers(column) for column in columns]
    lengths = {name: len(values) for name, values in zip(columns, lists, strict=True)}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {n}" for name, n in lengths.items())
        raise DataError(f"the columns of values have as many numbers each, but {told}")
    with np.errstate(over="ignore"):  # said below
        found = np.array(lists, np.float32).T
    if not np.isfinite(found).all():
        raise DataError("a number is too large for float32: scale the columns")
    return found


def example_of(line: str, model: Classifier) -> Example:
    """What a line to predict for holds: a text, or values as a JSON object of lists.

    Raises:
        DataError: where the line is no such object.
    """
    if isinstance(model.inputs, Vocabulary):
        return line
    try:
        found = json.loads(line)
    except ValueError as error:
        raise DataError(f"the line is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"the line is no JSON object with the lists {', '.join(model.inputs)}")
    return values_of(Row("", 0, cast("dict[str, Any]", found)), model.inputs)
