"""What a classifier is built of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.errors import ModelError
from unrolled.models.config import (
    LayersConfig,
    between,
    count,
    one_of,
    positive,
    probability,
    require,
    switch,
)
from unrolled.models.pooling import POOLING

MOST_MEMBERS = 100
"""Far more than help; a damaged file can't ask for billions."""


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
        members: So many networks that differ in their first values alone, whose probabilities are
            averaged: as many times the computation, for fewer errors.

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
    members: int = 1

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
                "members": between(1, MOST_MEMBERS),
            },
        )
        if self.skip and self.pooling == "last":
            raise ModelError(
                "skip pools the inputs of all steps: set pooling to mean, max or attention"
            )
