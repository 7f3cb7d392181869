"""What an encoder–decoder is built of, checked value by value."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.models.attention import Score
from unrolled.models.config import LayersConfig, count, one_of, probability, require, switch


@dataclass(frozen=True)
class Seq2SeqConfig(LayersConfig):
    """What an encoder–decoder is built of; ``num_layers`` are the encoder's.

    Attributes:
        embedding_size: The length of a token's vector, on both sides.
        bidirectional: Whether the encoder also reads the source from its end.
        decoder_layers: How many recurrent layers stand behind the attention, besides the one before
            it.
        attention: How a query is compared with an output of the encoder: general has a matrix
            between them, dot has none.
        bridge: Whether the decoder's states start from the encoder's final ones, else as the cell's
            own; turn it off for a cell whose states mean something, such as a count.
        label_smoothing: The share of each target's probability that is spread over all tokens in
            training.
        max_length: The most tokens of a target; translations end there.

    Raises:
        ModelError: where a value is out of its range or of another type.
    """

    embedding_size: int = 64
    bidirectional: bool = True
    decoder_layers: int = 1
    attention: Score = "general"
    bridge: bool = True
    label_smoothing: float = 0.0
    max_length: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "embedding_size": count(1),
                "bidirectional": switch(),
                "decoder_layers": count(1),
                "attention": one_of("general", "dot"),
                "bridge": switch(),
                "label_smoothing": probability(),
                "max_length": count(1),
            },
        )
