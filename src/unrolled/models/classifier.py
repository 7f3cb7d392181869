"""The classifier: a whole sequence to one of several classes (many to one).

Tokens or real values, recurrent layers of any cell, one vector of all steps (``pooling``), a linear
output.  With ``skip`` the inputs are pooled beside the layers' outputs, so that each step is seen
with its context on both sides (Lai et al., "Recurrent convolutional neural networks for text
classification", 2015, without their extra layer).

``members`` makes it a deep ensemble: networks that differ in their first values (and in what is
dropped in training), whose probabilities are averaged (Lakshminarayanan et al., "Simple and
scalable predictive uncertainty estimation using deep ensembles", 2017).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.data.labels import Labels
from unrolled.data.vocabulary import Kind, Vocabulary
from unrolled.errors import DataError, ModelError
from unrolled.models.classifier_config import ClassifierConfig
from unrolled.models.classifier_network import Network
from unrolled.models.inputs import Standardise, check_lengths, check_sequences
from unrolled.models.modes import evaluating
from unrolled.models.pretrained import Pretrained

Example = str | NDArray[Any]
"""A text, or real values ``[T, D]``."""

_AT_ONCE = 256


class Classifier(Pretrained[ClassifierConfig]):
    """Gives each class its probability.

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

    KIND = "classifier"
    CONFIG = ClassifierConfig

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
        self.networks = nn.ModuleList(
            Network(config, len(self.classes), self.inputs, cell) for _ in range(config.members)
        )

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self._parameter.device

    @property
    def _parameter(self) -> Tensor:
        """Any one of them: all are on one device, of one dtype."""
        return next(self.parameters())

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Takes the moments of the training data's real values, ``[D]`` each.

        Raises:
            ModelError: where the classifier reads text.
        """
        if isinstance(self.inputs, Vocabulary):
            raise ModelError("this classifier reads text: there are no values to standardise")
        for module in self.modules():
            if isinstance(module, Standardise):
                module.fit(mean, deviation)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The logits of each class: where there are members, those of their mean probabilities.

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
        logits = self.member_logits(x, lengths)
        if len(logits) == 1:
            return logits[0]
        return logits.log_softmax(2).logsumexp(0) - math.log(len(logits))

    def member_logits(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The logits of each member, which learns alone by a loss of its own, as ``forward``'s.

        Returns:
            ``[members, B, K]`` in the parameters' dtype.
        """
        if isinstance(self.inputs, Vocabulary):
            check_sequences(x, "token ids", (), len(self.inputs), self._parameter)
        else:
            check_sequences(x, "real values", (len(self.inputs),), None, self._parameter)
        given = check_lengths(lengths, x)
        told = None if lengths is None else given
        return torch.stack([network(x, told, given) for network in self.networks])

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
        dtype = None if isinstance(self.inputs, Vocabulary) else self._parameter.dtype
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

    def knowledge(self) -> Mapping[str, object]:
        """Its classes, and its vocabulary or the names of its real values."""
        inputs = self.inputs.to_dict() if isinstance(self.inputs, Vocabulary) else list(self.inputs)
        return {"classes": self.classes.to_dict(), "inputs": inputs}

    @classmethod
    def built(
        cls, config: ClassifierConfig, known: Mapping[str, Any], cell: Cell | None
    ) -> Classifier:
        """See ``Pretrained.built``."""
        given = known["inputs"]
        inputs = _columns(given) if isinstance(given, list) else Vocabulary.from_dict(given)
        return cls(config, Labels.from_dict(known["classes"]).names, inputs, cell)


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
