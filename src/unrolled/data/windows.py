"""Windows for truncated backpropagation through time: a long stream of tokens cut to pieces.

The corpus is cut into B contiguous streams, one a batch row, and the streams into windows of T
steps. A row of one window goes on in the same row of the next, so that the recurrent state can be
carried.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.data.vocabulary import Ids
from unrolled.errors import DataError


@dataclass(frozen=True)
class Stream:
    """The windows of one epoch.

    Each token but the first of a stream is predicted exactly once an epoch; the few tokens at the
    corpus' end that don't fill a step of all streams are left out. The last window may be shorter.

    Attributes:
        tokens: The corpus' ids ``[N]``, in memory or mapped.
        batch_size: The number of streams B.
        window: The number of steps T.

    Raises:
        DataError: where B or T is not positive, or a window does not fit into a stream.
    """

    tokens: Ids
    batch_size: int
    window: int

    def __post_init__(self) -> None:
        if self.batch_size < 1 or self.window < 1:
            raise DataError(
                f"batch size and window are at least 1, not {self.batch_size} and {self.window}"
            )
        if self.steps < self.window:
            streams = "one stream" if self.batch_size == 1 else f"{self.batch_size} streams"
            raise DataError(
                f"a window of {self.window} steps is longer than the corpus: its "
                f"{len(self.tokens)} tokens make {streams} of {self.steps} steps. Lower the window "
                "or the batch size, or give more text"
            )

    @property
    def steps(self) -> int:
        """The predictions that each stream makes an epoch."""
        return max(0, len(self.tokens) - 1) // self.batch_size

    def __len__(self) -> int:
        """The number of windows an epoch."""
        return -(-self.steps // self.window)

    def batches(self, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs and targets from window ``start`` on, int64 ``[T, B]`` each.

        A target is the token after its input.
        """
        used = self.steps * self.batch_size
        inputs = self.tokens[:used].reshape(self.batch_size, self.steps)
        targets = self.tokens[1 : used + 1].reshape(self.batch_size, self.steps)
        for index in range(start, len(self)):
            here = slice(index * self.window, (index + 1) * self.window)
            yield _time_major(inputs[:, here]), _time_major(targets[:, here])


def _time_major(rows: Ids) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rows.T, np.int64))
