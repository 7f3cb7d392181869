"""What models are built of, checked value by value."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeVar, cast

from unrolled.errors import ModelError

C = TypeVar("C")

Check = tuple[Callable[[Any], bool], str]
"""Whether a value is right, and what is expected."""


def count(least: int) -> Check:
    """A whole number."""
    return lambda v: type(v) is int and v >= least, f"a whole number of at least {least}"


def between(least: int, most: int) -> Check:
    """A whole number of a range."""
    return (
        lambda v: type(v) is int and least <= v <= most,
        f"a whole number from {least} to {most}",
    )


def positive() -> Check:
    """A number above 0."""
    return lambda v: type(v) in (int, float) and 0 < v < math.inf, "a number above 0"


def probability() -> Check:
    """A probability that leaves something."""
    return lambda v: type(v) in (int, float) and 0 <= v < 1, "at least 0 and below 1"


def switch() -> Check:
    """A truth value."""
    return lambda v: isinstance(v, bool), "true or false"


def one_of(*names: str) -> Check:
    """One of some words."""
    return lambda v: v in names, " or ".join(names)


def each(check: Check) -> Check:
    """A value for each name."""
    holds, expected = check
    return (
        lambda v: isinstance(v, dict) and all(map(holds, cast("dict[str, Any]", v).values())),
        f"{expected} for each name",
    )


def require(config: object, checks: Mapping[str, Check]) -> None:
    """Checks the fields of a configuration.

    Raises:
        ModelError: where one is not as expected.
    """
    for name, (holds, expected) in checks.items():
        value = getattr(config, name)
        if not holds(value):
            raise ModelError(f"{name} is {expected}, not {value!r}")


def from_dict(kind: type[C], values: object, what: str) -> C:
    """The configuration with these values, as JSON gives them.

    Args:
        kind: A dataclass.
        values: What was read.
        what: The model's name for messages, such as "language model".

    Raises:
        ModelError: where one is missing, unknown or wrong.
    """
    names = [f.name for f in fields(cast("Any", kind))]
    if not isinstance(values, dict) or set(cast("dict[str, object]", values)) != set(names):
        raise ModelError(f"a {what}'s configuration has {', '.join(names)}")
    return kind(**values)


@dataclass(frozen=True)
class LayersConfig:
    """The recurrent layers of a model.

    Attributes:
        cell: lstm, gru or rnn; any cell of unrolled.cells; a cell of your own as
            file.py:function; or a composed one, such as "zoneout(layer_norm(lstm), c=0.1)".
        hidden_size: The hidden units of each layer.
        num_layers: How many recurrent layers stand on each other.
        dropout: The probability that a value between layers is dropped in training.
        weight_dropout: The probability that an element of a matrix is dropped in training, by the
            matrix's name in the cell, such as {"weight_hh": 0.5}.
        learn_initial: Whether the state before the first step is learned, instead of zeros.
        checkpoint: Store the state at every so many steps only, and compute the others again; sqrt
            takes the square root of the steps.
        backend: What runs the loop; auto chooses.
        sizes: Further sizes that the cell names, such as P of a projection.

    Raises:
        ModelError: where a value is out of its range or of another type.
    """

    cell: str = "lstm"
    hidden_size: int = 256
    num_layers: int = 1
    dropout: float = 0.0
    weight_dropout: dict[str, float] = field(default_factory=dict[str, float])
    learn_initial: bool = False
    checkpoint: int | Literal["sqrt"] | None = None
    backend: str = "auto"
    sizes: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        require(self, _LAYERS)


_LAYERS: Mapping[str, Check] = {
    "cell": (lambda v: isinstance(v, str) and v != "", "the name of a cell"),
    "hidden_size": count(1),
    "num_layers": count(1),
    "dropout": probability(),
    "weight_dropout": each(probability()),
    "learn_initial": switch(),
    "checkpoint": (
        lambda v: v in (None, "sqrt") or (type(v) is int and v >= 1),
        "a whole number of at least 1, sqrt or null",
    ),
    "backend": (lambda v: isinstance(v, str), "the name of a backend"),
    "sizes": each(count(1)),
}


@dataclass(frozen=True)
class LanguageModelConfig(LayersConfig):
    """What a language model is built of, besides its layers.

    Attributes:
        embedding_size: The length of a token's vector; 0 gives the tokens to the first layer as
            one-hot vectors.
        tied: Whether the output uses the embedding's weights; both sizes must be the same.

    Raises:
        ModelError: where a value is out of its range or of another type.
    """

    embedding_size: int = 64
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, {"embedding_size": count(0), "tied": switch()})
        if self.tied and self.embedding_size == 0:
            raise ModelError("tied weights need an embedding: set embedding_size")
