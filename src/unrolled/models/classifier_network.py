"""One network of a classifier: inputs, recurrent layers, one vector of all steps, an output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ModelError
from unrolled.models.classifier_config import ClassifierConfig
from unrolled.models.inputs import Standardise, Tokens
from unrolled.models.layers import build, output_size
from unrolled.models.pooling import POOLING


class Network(nn.Module):
    """Sequences to the logits of each class.

    Args:
        config: What it is built of.
        n_classes: K.
        inputs: The vocabulary of texts, or the names of the real values that each step has.
        cell: The cell to use instead of looking up ``config.cell``, which then only names it.

    Raises:
        ModelError: where there is no such cell, a given cell has a drop-in's name, or an option
            needs what the inputs lack.
        CellError: where the cell can't be built with these sizes.
    """

    def __init__(
        self,
        config: ClassifierConfig,
        n_classes: int,
        inputs: Vocabulary | tuple[str, ...],
        cell: Cell | None,
    ) -> None:
        super().__init__()
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
        self.skip = config.skip
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.recurrent = build(config, size, cell, bidirectional=config.bidirectional)
        pooled = output_size(self.recurrent) + (size if config.skip else 0)
        self.pool = POOLING[config.pooling](pooled, config.bidirectional)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(pooled, n_classes)

    def forward(self, x: Tensor, lengths: Tensor | None, given: Tensor) -> Tensor:
        """The logits.

        Args:
            x: Ids ``[T, B]`` or real values ``[T, B, D]``.
            lengths: What the recurrent layers are told: ``given``, or None where all are T.
            given: The steps of each sequence ``[B]``.

        Returns:
            ``[B, K]``.
        """
        read = self.embedding_dropout(self.features(x))
        y, _ = self.recurrent(read, lengths=lengths)
        seen = torch.cat([y, read], 2) if self.skip else y
        return self.output(self.dropout(self.pool(seen, given)))
