"""What a generator is built of."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.models.config import LayersConfig, count, probability, require


@dataclass(frozen=True)
class GeneratorConfig(LayersConfig):
    """What a generator is built of, besides its layers.

    Attributes:
        embedding_size: The length of a token's vector, or of what a frame is mapped to linearly; 0
            gives them to the first layer as they are, tokens as one-hot vectors.
        label_size: The length of a label's vector.
        input_dropout: The probability that an element of a step's input is dropped in training.

    Raises:
        ModelError: where a value is out of its range or of another type.
    """

    embedding_size: int = 64
    label_size: int = 16
    input_dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        checks = {"embedding_size": count(0), "label_size": count(1)}
        require(self, {**checks, "input_dropout": probability()})
