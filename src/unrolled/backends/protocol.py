"""What a backend hands back: a kernel that runs a plan over a sequence, in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from unrolled.steps import EVEN, Steps

Values = dict[str, Tensor]


@dataclass(frozen=True)
class Run:
    """What a forward run gives.

    ``outputs`` are [T, B, size] by name, or packed [1, N, size], ``states`` the final ones
    [B, size].  ``residuals`` are the values that the reverse run reads, by name; empty where there
    is none to come.
    """

    outputs: Values
    states: tuple[Tensor, ...]
    residuals: Values


@dataclass(frozen=True)
class Gradients:
    """What a reverse run gives: cotangents of inputs and parameters, and of states.

    ``states`` are those of the initial states, ``fresh`` of the states that resets put in.
    """

    outputs: Values
    states: tuple[Tensor, ...]
    fresh: tuple[Tensor, ...] = ()


class Stepper(Protocol):
    """A plan that runs a step at a time on memory of its own, which each step writes anew."""

    y: Tensor
    """The output of the last step, [B, size]."""
    states: tuple[Tensor, ...]
    """The states after it, [B, size] each."""

    def step(self, x: Tensor) -> None:
        """One step on ``x`` [B, D], contiguous and of the states' dtype and device."""
        ...

    def refresh(self, parameters: Mapping[str, Tensor]) -> None:
        """Go on with these parameters."""
        ...


class Runner(Protocol):
    """What runs sequences in both directions: a kernel, or something around one."""

    differentiable: bool
    """Whether torch can record what ``forward`` and ``backward`` do, for higher derivatives."""

    def forward(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Mapping[str, Tensor],
        keep: bool,
        steps: Steps = EVEN,
        fresh: Sequence[Tensor] = (),
    ) -> Run:
        """Run over ``x`` [T, B, D]; ``keep`` the residuals for a reverse run.

        ``fresh``, a state [B, size] each, is what ``steps.resets`` put in.
        """
        ...

    def backward(
        self,
        residuals: Values,
        d_outputs: Mapping[str, Tensor],
        d_states: Sequence[Tensor],
        steps: Steps = EVEN,
    ) -> Gradients:
        """From the cotangents of outputs [T, B, size] and final states to everything wanted."""
        ...


class Kernel(Runner, Protocol):
    """A compiled plan."""

    def source(self, dtype: torch.dtype, backwards: bool) -> str | None:
        """The code of one direction's loop; ``None`` where none is generated."""
        ...

    def stepper(self, parameters: Mapping[str, Tensor], states: Sequence[Tensor]) -> Stepper:
        """The plan a step at a time, for the output ``y`` alone, from copies of these states."""
        ...
