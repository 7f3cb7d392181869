"""Windows of series: the past up to an origin and the values that follow it, as batches.

An origin is the place of the first value that is forecast.  A window holds up to ``context`` values
before it and none of those behind it, which are its target alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.batch import Batch, Sequences
from unrolled.data.series_layout import Encoded
from unrolled.errors import DataError

Origins = NDArray[np.int64]
"""The places of series and origins, int64 ``[n, 2]``."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of equal horizon.

    Attributes:
        series: What they are cut from.
        origins: Where.
        context: The most values of a past.
        horizon: The values of a target.
    """

    series: Sequence[Encoded]
    origins: Origins
    context: int
    horizon: int

    def __len__(self) -> int:
        return len(self.origins)

    def batch(self, places: NDArray[np.int64]) -> Batch:
        """Some of the windows, side by side.

        Sequences: ``values``, float64 ``[T, B]``, and ``covariates``, float32 ``[T, B, P + K]``.
        Values: ``future``, float32 ``[B, horizon, K]``, and ``target``, float64 ``[B, horizon]``,
        NaN behind the end of a series.
        """
        chosen = self.origins[places]
        lengths = np.minimum(chosen[:, 1], self.context)
        n, longest = len(chosen), int(lengths.max(initial=0))
        like = self.series[0]
        values = np.zeros((longest, n))
        covariates = np.zeros((longest, n, like.covariates.shape[1]), np.float32)
        future = np.zeros((n, self.horizon, like.known.shape[1]), np.float32)
        target = np.full((n, self.horizon), np.nan)
        for b, ((which, origin), length) in enumerate(zip(chosen, lengths, strict=True)):
            one = self.series[which]
            values[:length, b] = one.values[origin - length : origin]
            covariates[:length, b] = one.covariates[origin - length : origin]
            future[b] = one.known[origin : origin + self.horizon]
            ahead = one.values[origin : origin + self.horizon]
            target[b, : len(ahead)] = ahead
        steps = torch.from_numpy(lengths)
        return Batch(
            n,
            {
                "values": Sequences(torch.from_numpy(values), steps),
                "covariates": Sequences(torch.from_numpy(covariates), steps),
            },
            {"future": torch.from_numpy(future), "target": torch.from_numpy(target)},
        )

    def part(self, chosen: NDArray[np.bool_]) -> Windows:
        """Those of the windows that are chosen, bool ``[n]``."""
        return Windows(self.series, self.origins[chosen], self.context, self.horizon)


@dataclass(frozen=True)
class WindowBatches:
    """Batches of windows, in another order each epoch.

    The same windows, seed and epoch give the same batches.

    Attributes:
        windows: What is batched.
        batch_size: How many stand in a batch; the last batch may have fewer.
        seed: Where the order starts; None keeps the windows' own.
    """

    windows: Windows
    batch_size: int
    seed: int | None

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise DataError(f"batch size is at least 1, not {self.batch_size}")
        if len(self.windows) == 0:
            raise DataError("there are no windows to batch")

    def __len__(self) -> int:
        """The number of batches an epoch."""
        return -(-len(self.windows) // self.batch_size)

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from batch ``start`` on."""
        order = np.arange(len(self.windows))
        if self.seed is not None:
            np.random.default_rng([self.seed, epoch]).shuffle(order)
        for begin in range(start * self.batch_size, len(order), self.batch_size):
            yield self.windows.batch(order[begin : begin + self.batch_size])


def origins(ranges: Sequence[range]) -> Origins:
    """All origins of each series in its range."""
    parts = [
        np.stack([np.full(len(r), i, np.int64), np.arange(r.start, r.stop, r.step)], 1)
        for i, r in enumerate(ranges)
    ]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros((0, 2), np.int64)
