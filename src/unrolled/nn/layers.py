"""What is given once for all layers, or in a sequence with one for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, cast

from unrolled.nn.checks import check_positive

T = TypeVar("T")


def layer_count(num_layers: int | None, **given: object) -> int:
    """How many layers there are, by ``num_layers`` and the lengths of the sequences among others.

    ``ValueError`` where they say different numbers, or a sequence is empty.
    """
    counts = {} if num_layers is None else {"num_layers": check_positive("num_layers", num_layers)}
    lengths = {n: len(cast("Sequence[object]", v)) for n, v in given.items() if is_sequence(v)}
    for name, length in lengths.items():
        if length == 0:
            raise ValueError(f"{name} is empty, expected one for each layer")
    counts |= lengths
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{name} for {n}" for name, n in counts.items())
        raise ValueError(f"give one for each layer, or one for all: {said} layers")
    return next(iter(counts.values()), 1)


def one_a_layer(given: T | Sequence[T], num_layers: int) -> tuple[T, ...]:
    """The elements of a sequence, or the one thing as often as there are layers."""
    if is_sequence(given):
        return tuple(cast("Sequence[T]", given))
    return (cast("T", given),) * num_layers


def is_sequence(value: object) -> bool:
    """Whether this is one thing for each layer."""
    return isinstance(value, (tuple, list))
