"""Sequences of unequal length in two arrays: the values one after the other, and where each begins.

Both may be mapped from files, so that a set of sequences may be larger than the memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError


@dataclass(frozen=True, eq=False)
class Ragged:
    """n sequences.

    Attributes:
        values: All elements ``[N, ...]``, those of the first sequence first.
        offsets: Where each sequence begins, and N: int64 ``[n + 1]``.
    """

    values: NDArray[Any]
    offsets: NDArray[np.int64]

    @staticmethod
    def of(sequences: Iterable[NDArray[Any]]) -> Ragged:
        """The sequences ``[T_i, ...]``, copied together.

        Raises:
            DataError: where there is none.
        """
        listed = list(sequences)
        if not listed:
            raise DataError("there are no sequences: give at least one")
        offsets = np.zeros(len(listed) + 1, np.int64)
        np.cumsum([len(s) for s in listed], out=offsets[1:])
        return Ragged(np.concatenate(listed), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of elements of each: int64 ``[n]``."""
        return np.diff(self.offsets)

    def lengths_of(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of some sequences: int64, without a look at the others."""
        return self.offsets[np.asarray(indices) + 1] - self.offsets[indices]

    def padded(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[Any]:
        """Some sequences side by side, time-major: ``[T, B, ...]``, zeros behind the ends."""
        starts, ends = self.offsets[indices], self.offsets[np.asarray(indices) + 1]
        longest = int((ends - starts).max(initial=0))
        out = np.zeros((longest, len(starts), *self.values.shape[1:]), self.values.dtype)
        for place, (start, end) in enumerate(zip(starts, ends, strict=True)):
            out[: end - start, place] = self.values[start:end]
        return out
