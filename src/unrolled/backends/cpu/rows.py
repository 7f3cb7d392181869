"""Where the rows of a call's sequences are: a row is the vector of one step and one example."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


class Rows(dict[str, tuple[int, int]]):
    """By sequence: the address of its first row, and how many numbers lie between two rows.

    ``kept`` are those that the call writes to tensors, ``parts`` say which sequence each is a part
    of, and from which element on.  Those in other tensors are looked up at their first use.
    """

    def __init__(
        self,
        values: Mapping[str, Tensor],
        kept: Mapping[str, Tensor],
        parts: Mapping[str, tuple[str, int]],
        n_steps: int,
        n_examples: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__({n: (t.data_ptr(), t.shape[2]) for n, t in kept.items()})
        self.n_steps = n_steps
        self.n_examples = n_examples
        self._values = values
        self._parts = parts
        self._dtype = dtype
        self._copies: list[Tensor] = []

    def __missing__(self, name: str) -> tuple[int, int]:
        if name in self._parts:
            whole, start = self._parts[name]
            address, apart = self[whole]
            found = address + start * self._dtype.itemsize, apart
        else:
            found = self._of(self._values[name])
        self[name] = found
        return found

    def _of(self, value: Tensor) -> tuple[int, int]:
        """Of a tensor [T, B, …], or of a copy whose rows are even over examples and steps."""
        real = value if value.dtype is self._dtype else value.to(self._dtype)
        flat = real if real.ndim == 3 else real.reshape(self.n_steps, self.n_examples, -1)
        width = flat.shape[2]
        apart = width
        if not flat.is_contiguous():
            # torch gives a dimension of length 1 any stride.
            if self.n_examples > 1:
                apart = flat.stride(1)
            elif self.n_steps > 1:
                apart = flat.stride(0)
            even = flat.stride(0) == self.n_examples * apart or self.n_steps == 1
            dense = flat.stride(2) == 1 or width == 1
            if not (even and dense and apart >= width):
                flat, apart = flat.contiguous(), width
        # What was made here lives as long as its address is used.
        self._copies.append(flat)
        return flat.data_ptr(), apart
