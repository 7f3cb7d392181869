"""What takes part: a call that is timed, and how its outcome reads as named tensors."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.problems import Mode, Problem

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Contestant:
    """``call`` is timed; ``tensors`` names what it returned: ``y``, each state, each ``d_…``."""

    call: Callable[[], Any]
    tensors: Callable[[Any], Tensors]


Build = Callable[[Problem, Mode], Contestant]


class Missing(Exception):
    """A peer's package is not installed."""


def package(name: str) -> Any:
    """A module of the ``bench`` extra; :class:`Missing` says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise Missing(f"{name} is not installed: pip install 'unrolled[bench]'") from error


def named(problem: Problem, mode: Mode, y: Any, states: Sequence[Any], d: Sequence[Any]) -> Any:
    """What a contestant computed under the names that all use; ``d`` for x and each parameter."""
    names = ["y", *(s.name for s in problem.cell.states)]
    if mode == "training":
        names += ["d_x", *(f"d_{name}" for name in problem.params)]
    return dict(zip(names, (y, *states, *d), strict=True))


def in_torch(
    problem: Problem,
    mode: Mode,
    forward: Callable[[], tuple[Tensor, Sequence[Tensor]]],
    leaves: Sequence[Tensor],
) -> Contestant:
    """A contestant that runs under torch's autograd.

    ``forward`` returns ``y`` and the final states; ``leaves`` are its x and parameters, in order.
    """

    def infer() -> Any:
        with torch.no_grad():
            return *forward(), ()

    def train() -> Any:
        y, final = forward()
        return y, final, torch.autograd.grad(y, leaves, problem.d_y)

    return Contestant(
        infer if mode == "inference" else train,
        lambda outcome: {name: t.detach() for name, t in named(problem, mode, *outcome).items()},
    )
