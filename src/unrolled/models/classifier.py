"""The classifier: a whole sequence to one of several classes (many to one).

Tokens or real values, recurrent layers of any cell, one vector of all steps (``pooling``), a linear
output.  With ``skip`` the inputs are pooled beside the layers' outputs, so that each step is seen
with its context on both sides (Lai et al., "Recurrent convolutional neural networks for text
classification", 2015, without their extra layer).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.data.labels import Labels
from unrolled.data.vocabulary import Kind, Vocabulary
from unrolled.errors import DataError, ModelError
from unrolled.models import pretrained
from unrolled.models.config import (
    LayersConfig,
    count,
    from_dict,
    one_of,
    positive,
    probability,
    require,
    switch,
)
from unrolled.models.inputs import Standardise, Tokens, check_lengths, check_sequences
from unrolled.models.layers import build, output_size
from unrolled.models.modes import evaluating
from unrolled.models.pooling import POOLING

KIND = "classifier"

Example = str | NDArray[Any]
"""A text, or real values ``[T, D]``."""

_AT_ONCE = 256


@dataclass(frozen=True)
class ClassifierConfig(LayersConfig):
    """What a classifier is built of, besides its layers.

    Attributes:
        hidden_size: The hidden units of each layer and direction.
        dropout: The probability that a value between layers, or before the output, is dropped in
            training.
        bidirectional: Whether each layer also reads the sequence from its end.
        embedding_size: The length of a token's vector.
        embedding_deviation: The standard deviation of its first values: small for words, many of
            which are rare; about 1 for characters.
        embedding_dropout: The probability that a value of an input vector is dropped in training.
        token_dropout: The probability that a token becomes "<unk>" in training.
        pooling: What the output sees of all steps: the last of each direction, their mean, the
            largest value of each feature, or a mean weighted by learned attention.
        skip: Whether the inputs are pooled beside the layers' outputs.

    Raises:
        ModelError: where a value is out of its range or of another type.
    """

    hidden_size: int = 128
    dropout: float = 0.3
    bidirectional: bool = True
    embedding_size: int = 64
    embedding_deviation: float = 0.1
    embedding_dropout: float = 0.0
    token_dropout: float = 0.0
    pooling: Literal["last", "mean", "max", "attention"] = "max"
    skip: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "bidirectional": switch(),
                "embedding_size": count(1),
                "embedding_deviation": positive(),
                "embedding_dropout": probability(),
                "token_dropout": probability(),
                "pooling": one_of(*POOLING),
                "skip": switch(),
            },
        )
        if self.skip and self.pooling == "last":
            raise ModelError(
                "skip pools the inputs of all steps: set pooling to mean, max or attention"
            )


class Classifier(nn.Module):
    """A network that gives each class its probability.

    Args:
        config: What it is built of.
        classes: What it tells apart, at least two.
        inputs: The vocabulary of texts, or the names of the real values that each step has.
        cell: The cell to use instead of looking up ``config.cell``, which then only names it.

    Raises:
        ModelError: where there is no such cell, a given cell has a drop-in's name, or an option
            needs what the inputs lack.
        DataError: where there are fewer than two classes, or one twice.
        CellError: where the cell can't be built with these sizes.
    """

    def __init__(
        self,
        config: ClassifierConfig,
        classes: Sequence[str],
        inputs: Vocabulary | Sequence[str],
        cell: Cell | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.classes = Labels(tuple(classes))
        self.inputs = inputs if isinstance(inputs, Vocabulary) else tuple(inputs)
        self.features: Tokens | Standardise
        if isinstance(inputs, Vocabulary):
            size = config.embedding_size
            self.features = Tokens(
                len(inputs), size, inputs.unk, config.token_dropout, config.embedding_deviation
            )
        else:
            size = len(inputs)
            if config.token_dropout:
                raise ModelError("token_dropout is for texts: set it to 0 for real values")
            self.features = Standardise(size)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.recurrent = build(config, size, cell, bidirectional=config.bidirectional)
        pooled = output_size(self.recurrent) + (size if config.skip else 0)
        self.pool = POOLING[config.pooling](pooled, config.bidirectional)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(pooled, len(self.classes))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.output.weight.device

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Takes the moments of the training data's real values, ``[D]`` each.

        Raises:
            ModelError: where the classifier reads text.
        """
        if not isinstance(self.features, Standardise):
            raise ModelError("this classifier reads text: there are no values to standardise")
        self.features.fit(mean, deviation)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The logits of each class.

        Args:
            x: Ids ``[T, B]``, int64; or real values ``[T, B, D]`` in the parameters' dtype.
            lengths: The steps of each sequence, from 1 to T, int64 ``[B]`` on the CPU; T each where
                None.

        Returns:
            ``[B, K]`` in the parameters' dtype.

        Raises:
            ValueError: where shapes or lengths are others.
            TypeError: where a dtype is another.
            IndexError: where an id is outside the vocabulary (seen on the CPU).
            RuntimeError: where ``x`` is on another device.
        """
        if isinstance(self.inputs, Vocabulary):
            check_sequences(x, "token ids", (), len(self.inputs), self.output.weight)
        else:
            check_sequences(x, "real values", (len(self.inputs),), None, self.output.weight)
        given = check_lengths(lengths, x)
        read = self.embedding_dropout(self.features(x))
        y, _ = self.recurrent(read, lengths=None if lengths is None else given)
        seen = torch.cat([y, read], 2) if self.config.skip else y
        return self.output(self.dropout(self.pool(seen, given)))

    def encode(self, example: Example) -> NDArray[Any]:
        """One example as the network reads it: ids ``[T]``, or real values ``[T, D]``.

        Raises:
            DataError: where it is empty, holds unknown tokens and there is no "<unk>", has another
                number of columns, or a value that is not finite.
        """
        if isinstance(self.inputs, Vocabulary):
            if not isinstance(example, str):
                raise DataError(f"this classifier reads text, not {type(example).__name__}")
            return encode_text(self.inputs, example)
        if isinstance(example, str):
            raise DataError(f"this classifier reads real values [T, {len(self.inputs)}], not text")
        return check_values(example, self.inputs)

    def probabilities(self, examples: Sequence[Example]) -> Tensor:
        """The probability of each class for each example: float32 ``[n, K]`` on the CPU.

        Raises:
            DataError: where an example can't be read.
        """
        rows = [torch.from_numpy(self.encode(example)) for example in examples]
        found = torch.zeros(len(rows), len(self.classes))
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        dtype = None if isinstance(self.inputs, Vocabulary) else self.output.weight.dtype
        with evaluating(self), torch.no_grad():
            for start in range(0, len(order), _AT_ONCE):
                places = order[start : start + _AT_ONCE]
                x = nn.utils.rnn.pad_sequence([rows[i] for i in places]).to(self.device, dtype)
                logits = self(x, torch.tensor([len(rows[i]) for i in places]))
                found[places] = logits.float().softmax(1).cpu()
        return found

    def predict(self, examples: Sequence[Example]) -> list[str]:
        """The likeliest class of each example.

        Raises:
            DataError: where an example can't be read.
        """
        best = self.probabilities(examples).argmax(1).tolist()
        return [self.classes.names[i] for i in best]

    def save_pretrained(
        self, directory: str | os.PathLike[str], *, overwrite: bool = False
    ) -> None:
        """Writes the model into ``directory``, as ``LanguageModel.save_pretrained`` does.

        Raises:
            ModelError: where ``directory`` holds a model and ``overwrite`` is not set.
            DataError: where it can't be written.
        """
        inputs = self.inputs.to_dict() if isinstance(self.inputs, Vocabulary) else list(self.inputs)
        known = {"classes": self.classes.to_dict(), "inputs": inputs}
        pretrained.save(self, KIND, self.config, known, directory, overwrite=overwrite)

    @staticmethod
    def from_pretrained(
        directory: str | os.PathLike[str], device: torch.device | str = "cpu"
    ) -> Classifier:
        """The model that was saved in ``directory``, in evaluation mode; runs nobody's code.

        Raises:
            ModelError: where the directory is missing, damaged, of another version, or its parts
                don't fit.
        """
        return pretrained.load(
            directory,
            KIND,
            lambda values: from_dict(ClassifierConfig, values, KIND),
            _built,
            device,
        )


def _built(config: ClassifierConfig, values: Mapping[str, object], cell: Cell | None) -> Classifier:
    inputs = values["inputs"]
    known = (
        _columns(cast("list[Any]", inputs))
        if isinstance(inputs, list)
        else Vocabulary.from_dict(inputs)
    )
    return Classifier(config, Labels.from_dict(values["classes"]).names, known, cell)


def _columns(values: list[Any]) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise DataError("the columns of real values are a list of names")
    return tuple(values)


def spaced(text: str, kind: Kind) -> str:
    """A text as a vocabulary's tokens see it: one space before every word, also the first."""
    return "".join(f" {word}" for word in text.split()) if kind == "word" else text


def encode_text(vocabulary: Vocabulary, text: str) -> NDArray[np.int64]:
    """The ids of a text, int64 ``[T]``.

    Raises:
        DataError: where there is none, or one is unknown and there is no "<unk>".
    """
    ids = vocabulary.encode(spaced(text, vocabulary.kind))
    if not len(ids):
        raise DataError("the text is empty")
    return ids.astype(np.int64)


def check_values(values: NDArray[Any], columns: Sequence[str]) -> NDArray[np.float32]:
    """Real values ``[T, D]`` of these columns as float32.

    Raises:
        DataError: where they have another shape, no step, or one is not finite.
    """
    array = np.asarray(values, np.float32)
    if array.ndim != 2 or array.shape[1] != len(columns) or not len(array):
        raise DataError(
            f"expected real values [T, {len(columns)}] with T at least 1, got {list(array.shape)}"
        )
    if not np.isfinite(array).all():
        step, column = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise DataError(
            f"{columns[column]} is {array[step, column]} at step {step + 1} where a finite number "
            "is expected: fill in what is missing, or leave the example out"
        )
    return array
