"""Which examples are learned from, which validate, and which the report is made on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from unrolled.data.examples import Examples
from unrolled.data.split import Indices, held_out
from unrolled.errors import DataError


class Options(Protocol):
    """What a task's options say of the parts."""

    @property
    def validation(self) -> object:
        """Data of its own that validates; None takes it from the data."""
        ...

    @property
    def test(self) -> object:
        """Data of its own that the report is made on; None takes it from the data."""
        ...

    @property
    def validation_fraction(self) -> float:
        """The share that validates where there is none of its own."""
        ...

    @property
    def test_fraction(self) -> float:
        """The share that the report is made on where there is none of its own."""
        ...


def shares_of_all(options: Options) -> dict[str, float]:
    """The shares of the test and validation parts in all the data; 0 for one with its own data.

    Raises:
        DataError: where one is out of its range, or they leave nothing to learn from.
    """
    shares: dict[str, float] = {}
    for name in ("test", "validation"):
        fraction: float = getattr(options, f"{name}_fraction")
        _check(f"{name}_fraction", fraction)
        shares[name] = fraction if getattr(options, name) is None else 0.0
    if sum(shares.values()) >= 1:
        raise DataError(
            f"test_fraction {options.test_fraction:g} and validation_fraction "
            f"{options.validation_fraction:g} leave nothing to learn from: together they are below "
            "1"
        )
    return shares


def divide(
    n: int, options: Options, seed: int, labels: Sequence[Any] | NDArray[Any] | None = None
) -> tuple[Indices, Indices, Indices]:
    """The places of the examples for training, validation and test, drawn by a seed.

    The test part is drawn first, so that it is the same whatever validates. A part that has data of
    its own, or the fraction 0, is empty.

    Args:
        n: How many examples there are.
        options: Where the parts come from.
        seed: Where the draws start.
        labels: Each example's class, where every part is to have its share of each.

    Raises:
        DataError: where a fraction is out of its range, or a part would be empty.
    """
    for name in ("validation_fraction", "test_fraction"):
        _check(name, getattr(options, name))
    kinds = None if labels is None else np.asarray(labels)
    test_share = 0.0 if options.test else options.test_fraction
    rest, test = held_out(n, test_share, seed, labels=kinds)
    share = 0.0 if options.validation else options.validation_fraction
    learn, validate = held_out(
        len(rest), share, seed, labels=None if kinds is None else kinds[rest]
    )
    return rest[learn], rest[validate], test


def held_parts(
    examples: Examples,
    parts: Mapping[str, tuple[Indices, str | None]],
    read: Callable[[str, str], Examples],
) -> dict[str, Examples | None]:
    """The examples of each part that is held out; None where there are none.

    Args:
        examples: The data's.
        parts: For each part the places of its examples among these, and the data of its own that a
            user names, which comes first.
        read: From such data and the part's name to its examples.
    """
    found: dict[str, Examples | None] = {}
    for name, (places, own) in parts.items():
        taken = examples.part(places) if len(places) else None
        found[name] = taken if own is None else read(own, name)
    return found


def check_encoded(examples: Examples, n: int) -> None:
    """Sees to it that places drawn among n rows mean the same examples.

    Raises:
        RuntimeError: where other than n rows were encoded.
    """
    if len(examples) != n:
        raise RuntimeError(
            f"{n:,} rows were read and then {len(examples):,} encoded, so that the parts would be "
            "others than were drawn; did a file change meanwhile?"
        )


def _check(name: str, fraction: float) -> None:
    if not 0 <= fraction < 1:
        raise DataError(f"{name} is at least 0 and below 1, not {fraction}")
