"""What a backend hands back: a kernel that runs a plan over a sequence, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Run:
    """What a forward run gives.

    ``outputs`` are [T, B, size] by name, ``states`` the final ones [B, size].  ``residuals`` are
    the values that the reverse run reads, by name; empty where there is none to come.
    """

    outputs: Values
    states: tuple[Tensor, ...]
    residuals: Values


@dataclass(frozen=True)
class Gradients:
    """What a reverse run gives: cotangents of inputs and parameters, and of initial states."""

    outputs: Values
    states: tuple[Tensor, ...]


class Kernel(Protocol):
    """A compiled plan."""

    differentiable: bool
    """Whether torch can record what ``forward`` and ``backward`` do, for higher derivatives."""

    def source(self, dtype: torch.dtype, backwards: bool) -> str | None:
        """The code of one direction's loop; ``None`` where none is generated."""
        ...

    def forward(
        self, x: Tensor, states: Sequence[Tensor], parameters: Mapping[str, Tensor], keep: bool
    ) -> Run:
        """Run over ``x`` [T, B, D]; ``keep`` the residuals for a reverse run."""
        ...

    def backward(
        self, residuals: Values, d_outputs: Mapping[str, Tensor], d_states: Sequence[Tensor]
    ) -> Gradients:
        """From the cotangents of outputs [T, B, size] and final states to everything wanted."""
        ...
