"""The small networks that experiments are made with: a layer of a cell, and a linear readout."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.combinators import GateBias, Orthogonal, initialised
from unrolled.nn import Recurrent


def _identity(matrix: Tensor) -> None:
    nn.init.eye_(matrix)


def _small(matrix: Tensor) -> None:
    nn.init.normal_(matrix, std=0.001)


def rnn(nonlinearity: str) -> Cell:
    """Elman's network, weights uniform in ±1/√H as ``torch.nn.RNN`` has them."""
    return CELLS["rnn"].bind(nonlinearity=nonlinearity)


def irnn() -> Cell:
    """Rectified units whose recurrent matrix starts as the identity (Le, Jaitly, Hinton 2015)."""
    return initialised(rnn("relu"), W_hh=_identity, W_ih=_small, b_ih=0.0, b_hh=0.0)


def scaled_rnn(nonlinearity: str, gain: float) -> Cell:
    """Elman's network whose recurrent matrix starts orthogonal, times ``gain``."""
    return initialised(rnn(nonlinearity), W_hh=Orthogonal(gain=gain), b_ih=0.0, b_hh=0.0)


def lstm(forget_bias: float) -> Cell:
    """``torch.nn.LSTM``'s cell, whose forget gates start with this bias."""
    return initialised(CELLS["lstm"], b_ih=GateBias(1, of=4, value=forget_bias), b_hh=0.0)


class Network(nn.Module):
    """A recurrent layer and a linear readout of every step.

    Args:
        cell: The layer's cell.
        inputs: The length of an input vector.
        hidden: The layer's size.
        outputs: The length of an output vector.
    """

    def __init__(self, cell: Cell, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, inputs, hidden)
        self.readout = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``[T, B, inputs]`` to ``[T, B, outputs]``."""
        return self.readout(self.recurrent(x)[0])


@dataclass(frozen=True)
class Update:
    """One update.

    Attributes:
        step: Which, from 1.
        loss: Before it.
        norm: The gradient's norm before clipping.
    """

    step: int
    loss: float
    norm: float


def updates(
    parameters: list[nn.Parameter],
    optimizer: torch.optim.Optimizer,
    loss: Callable[[], Tensor],
    steps: int,
    clip: float = float("inf"),
) -> Generator[Update]:
    """So many updates, one after the other; ends after one whose loss or norm is not finite.

    The parameters stay as they were before an update of that kind.
    """
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        found = loss()
        found.backward()
        norm = clip_grad_norm_(parameters, clip)
        update = Update(step, found.item(), norm.item())
        if not torch.isfinite(found + norm):
            yield update
            return
        optimizer.step()
        yield update


@contextmanager
def seeded(seed: int) -> Generator[None]:
    """Torch's random numbers from ``seed`` on while the block runs; as they were afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield
