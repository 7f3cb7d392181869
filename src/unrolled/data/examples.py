"""Encoded examples by column, in memory or mapped from files, and batches of them.

Batches hold examples of like length, so that little is padded and little is waited for: the
examples are shuffled, cut into pools of several batches, and sorted by length within a pool. There
are at least four pools: were all examples sorted together, the same ones would meet in each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.batch import Batch, Sequences
from unrolled.data.ragged import Ragged
from unrolled.errors import DataError

# The most batches of a pool, and the fewest pools of an epoch.
_POOL = 50
_POOLS = 4


@dataclass(frozen=True, eq=False)
class Examples:
    """n examples.

    Attributes:
        sequences: Columns with a sequence an example.
        values: Columns with one value an example, ``[n, ...]``.
        indices: Which rows of the columns are meant, int64 ``[n]``, so that a part shares them.
    """

    sequences: Mapping[str, Ragged]
    values: Mapping[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    indices: NDArray[np.int64] = field(kw_only=True)

    @staticmethod
    def of(
        sequences: Mapping[str, Ragged], values: Mapping[str, NDArray[Any]] | None = None
    ) -> Examples:
        """All rows of these columns.

        Raises:
            DataError: where a column is longer than another.
        """
        given = dict(values or {})
        sizes = {name: len(column) for name, column in {**sequences, **given}.items()}
        if len(set(sizes.values())) > 1:
            raise DataError(f"the columns hold unequal numbers of examples: {sizes}")
        n = next(iter(sizes.values()))
        return Examples(sequences, given, indices=np.arange(n, dtype=np.int64))

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, chosen: NDArray[np.int64]) -> Examples:
        """The examples at these places."""
        return Examples(self.sequences, self.values, indices=self.indices[chosen])

    def lengths(self, column: str) -> NDArray[np.int64]:
        """How long each example's sequence is: int64 ``[n]``."""
        return self.sequences[column].lengths[self.indices]

    def batch(self, places: NDArray[np.int64]) -> Batch:
        """The examples at these places, side by side; whole numbers as int64."""
        rows = self.indices[places]
        sequences = {
            name: Sequences(_tensor(column.padded(rows)), torch.from_numpy(column.lengths_of(rows)))
            for name, column in self.sequences.items()
        }
        values = {name: _tensor(column[rows]) for name, column in self.values.items()}
        return Batch(len(rows), sequences, values)


@dataclass(frozen=True)
class Bucketed:
    """Batches of examples of like length, in another order each epoch.

    The same examples, seed and epoch give the same batches.

    Attributes:
        examples: What is batched.
        batch_size: How many stand in a batch; the last batch may have fewer.
        by: The column whose lengths count.
        seed: Where the order starts; None keeps the examples' own order, sorted within pools.
    """

    examples: Examples
    batch_size: int
    by: str
    seed: int | None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise DataError(f"batch size is at least 1, not {self.batch_size}")
        if len(self.examples) == 0:
            raise DataError("there are no examples to batch")

    def __len__(self) -> int:
        """The number of batches an epoch."""
        return -(-len(self.examples) // self.batch_size)

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from batch ``start`` on."""
        for places in self.order(epoch)[start:]:
            yield self.examples.batch(places)

    def order(self, epoch: int = 0) -> list[NDArray[np.int64]]:
        """Which examples each batch of an epoch holds, by their places."""
        n, lengths = len(self.examples), self.examples.lengths(self.by)
        order = np.arange(n)
        draw = None if self.seed is None else np.random.default_rng([self.seed, epoch])
        if draw is not None:
            draw.shuffle(order)
        most = _POOL if draw is None else min(_POOL, max(1, len(self) // _POOLS))
        pool = most * self.batch_size
        cut: list[NDArray[np.int64]] = []
        for begin in range(0, n, pool):
            part = order[begin : begin + pool]
            part = part[np.argsort(lengths[part], kind="stable")]
            cut += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        if draw is not None:
            draw.shuffle(cut)  # pyright: ignore[reportArgumentType]
        return cut


def _tensor(array: NDArray[Any]) -> torch.Tensor:
    whole = array.dtype.kind in "iu"
    return torch.from_numpy(np.ascontiguousarray(array, np.int64 if whole else array.dtype))
