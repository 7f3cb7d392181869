"""What a language model is built of, checked value by value."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import cast

from unrolled.errors import ModelError


@dataclass(frozen=True)
class LanguageModelConfig:
    """What a language model is built of.

    Attributes:
        cell: lstm, gru or rnn; any cell of unrolled.cells; or a cell of your own as
            file.py:function.
        embedding_size: The length of a token's vector; 0 gives the tokens to the first layer as
            one-hot vectors.
        hidden_size: The hidden units of each layer.
        num_layers: How many recurrent layers stand on each other.
        dropout: The probability that a value between layers is dropped in training.
        tied: Whether the output uses the embedding's weights; both sizes must be the same.
        sizes: Further sizes that the cell names, such as P of a projection.

    Raises:
        ModelError: where a value is out of its range or of another type.
    """

    cell: str = "lstm"
    embedding_size: int = 64
    hidden_size: int = 256
    num_layers: int = 1
    dropout: float = 0.0
    tied: bool = False
    sizes: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        def require(holds: bool, name: str, expected: str) -> None:
            if not holds:
                raise ModelError(f"{name} is {expected}, not {getattr(self, name)!r}")

        require(isinstance(self.cell, str) and self.cell != "", "cell", "the name of a cell")
        require(_count(self.embedding_size, 0), "embedding_size", "a whole number of at least 0")
        require(_count(self.hidden_size, 1), "hidden_size", "a whole number of at least 1")
        require(_count(self.num_layers, 1), "num_layers", "a whole number of at least 1")
        rate = self.dropout
        require(type(rate) in (int, float) and 0 <= rate < 1, "dropout", "at least 0 and below 1")
        require(isinstance(self.tied, bool), "tied", "true or false")
        sizes = isinstance(self.sizes, dict) and all(_count(n, 1) for n in self.sizes.values())
        require(sizes, "sizes", "a whole number of at least 1 for each name")
        if self.tied and self.embedding_size == 0:
            raise ModelError("tied weights need an embedding: set embedding_size")

    @staticmethod
    def from_dict(values: object) -> LanguageModelConfig:
        """The configuration with these values, as JSON gives them.

        Raises:
            ModelError: where one is missing, unknown or wrong.
        """
        names = [f.name for f in fields(LanguageModelConfig)]
        if not isinstance(values, dict) or set(cast("dict[str, object]", values)) != set(names):
            raise ModelError(f"a language model's configuration has {', '.join(names)}")
        return LanguageModelConfig(**values)


def _count(value: object, least: int) -> bool:
    return type(value) is int and value >= least
