"""A batch: examples side by side, what the training loop and the models pass on to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Sequences:
    """One sequence an example, padded.

    Attributes:
        data: ``[T, B, ...]``.
        lengths: The steps of each that are no padding, int64 ``[B]`` on the CPU; None where all
            are.
    """

    data: Tensor
    lengths: Tensor | None = None

    def select(self, rows: slice) -> Sequences:
        """Those of some examples, padded no longer than they need."""
        if self.lengths is None:
            return Sequences(self.data[:, rows])
        lengths = self.lengths[rows]
        longest = int(lengths.max()) if len(lengths) else 0
        return Sequences(self.data[:longest, rows], lengths)

    def steps(self) -> int:
        """All steps that are no padding."""
        if self.lengths is None:
            return self.data.shape[0] * self.data.shape[1]
        return int(self.lengths.sum())

    def present(self) -> Tensor:
        """Which steps are no padding: bool ``[T, B]`` on the data's device."""
        shape = self.data.shape[:2]
        if self.lengths is None:
            return torch.ones(shape, dtype=torch.bool, device=self.data.device)
        lengths = self.lengths.to(self.data.device)
        return torch.arange(shape[0], device=self.data.device).unsqueeze(1) < lengths


@dataclass(frozen=True, eq=False)
class Batch:
    """B examples.

    Attributes:
        size: B.
        sequences: By the column's name.
        values: What is one value an example, ``[B, ...]``, by the column's name.
    """

    size: int
    sequences: Mapping[str, Sequences] = field(default_factory=dict[str, Sequences])
    values: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])

    def select(self, rows: slice) -> Batch:
        """Some of the examples: a process's share, or a part for gradient accumulation."""
        return Batch(
            len(range(*rows.indices(self.size))),
            {name: s.select(rows) for name, s in self.sequences.items()},
            {name: v[rows] for name, v in self.values.items()},
        )

    def to(self, device: torch.device) -> Batch:
        """The same with its data on a device; lengths stay where they are."""
        return Batch(
            self.size,
            {n: Sequences(s.data.to(device), s.lengths) for n, s in self.sequences.items()},
            {n: v.to(device) for n, v in self.values.items()},
        )
