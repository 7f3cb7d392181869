"""Long sequences in parts: the same values, cut at more places; nothing is copied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unrolled.data.examples import Examples
from unrolled.data.ragged import Ragged
from unrolled.errors import DataError

BEFORE = "before"
"""The column of what stands before each part."""


@dataclass(frozen=True, eq=False)
class Cut:
    """n sequences in parts.

    Attributes:
        examples: The parts, those of one sequence one after the other, each with its sequence's
            values and, as ``before``, the element that stands before it.
        first: The place of each sequence's first part, and the number of parts: int64 ``[n + 1]``.
    """

    examples: Examples
    first: NDArray[np.int64]


def cut(examples: Examples, column: str, longest: int, start: int) -> Cut:
    """Each sequence in as few parts as will do, of equal length but for one element.

    Args:
        examples: Whose only sequences are those of ``column``.
        column: The sequences.
        longest: The most elements of a part.
        start: What stands before a sequence's first element, in each of its places.

    Raises:
        DataError: where ``longest`` is below one.
    """
    if longest < 1:
        raise DataError(f"window: a part of a sequence has at least 1 step, not {longest}")
    whole = examples.sequences[column]
    lengths = whole.lengths
    parts = np.maximum(-(-lengths // longest), 1)
    first = np.zeros(len(whole) + 1, np.int64)
    np.cumsum(parts, out=first[1:])
    row = np.repeat(np.arange(len(whole)), parts)
    number = np.arange(len(row)) - first[row]
    begins = whole.offsets[row] + number * lengths[row] // parts[row]
    before = np.full((len(row), *whole.values.shape[1:]), start, whole.values.dtype)
    before[number > 0] = whole.values[begins[number > 0] - 1]
    chosen = examples.indices
    places = np.concatenate(
        [np.arange(begin, end) for begin, end in zip(first[chosen], first[chosen + 1], strict=True)]
    )
    return Cut(
        Examples(
            {column: Ragged(whole.values, np.append(begins, whole.offsets[-1:]))},
            {**{name: values[row] for name, values in examples.values.items()}, BEFORE: before},
            indices=places,
        ),
        np.append(0, np.cumsum(parts[chosen])),
    )
