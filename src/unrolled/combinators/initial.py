"""How the parameters of any cell start: orthogonal matrices, open forget gates, time scales.

``initialised(lstm, W_hh=Orthogonal(), b_ih=GateBias(1, of=4), b_hh=0.0)``.  Each start fills a
parameter in place, as the functions of ``torch.nn.init`` do, which can stand here too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import init

from unrolled.cell import Cell
from unrolled.combinators.compose import combinator
from unrolled.errors import CellError
from unrolled.specs import Init


@combinator
def initialised(cell: Cell, **starts: Init) -> Cell:
    """The cell whose parameters that are named start otherwise.

    Args:
        cell: a cell.
        starts: for a parameter's name what ``param(init=…)`` takes: a number, ``"uniform"``, or a
            function that fills a tensor in place.

    Raises :class:`CellError` for a name that is no parameter of the cell's.
    """
    for name in starts:
        if name not in cell.parameters:
            raise CellError(
                f"initialised({cell.name}): there is no parameter {name}",
                f"the parameters are {', '.join(cell.parameters) or 'none'}",
                cell.location,
            )
    changed = {name: replace(cell.parameters[name], init=how) for name, how in starts.items()}
    return replace(cell, parameters={**cell.parameters, **changed})


@dataclass(frozen=True)
class Orthogonal:
    """A start: a matrix with orthonormal rows or columns, those of each gate by themselves.

    ``blocks`` says how many gates' matrices stand in it one below the other; by default as many as
    its declaration says, 4 of ``("4*H", "D")``. ``gain`` scales all.

    Paper: Saxe, McClelland and Ganguli 2014, arXiv:1312.6120.
    """

    blocks: int | None = None
    gain: float = 1.0

    def __call__(self, matrix: Tensor) -> None:
        """Fill ``matrix`` in place; ``ValueError`` where nothing says how many gates it has."""
        self.fill(matrix, None)

    def fill(self, matrix: Tensor, gates: int | None) -> None:
        """Fill ``matrix``, of so many gates, in place; ``ValueError`` where it has no such."""
        if matrix.ndim != 2:
            raise ValueError(f"Orthogonal() fills matrices, got the shape {list(matrix.shape)}")
        rows, columns = matrix.shape
        blocks = self.blocks or gates or (1 if rows <= columns else 0)
        if not blocks:
            raise ValueError(
                f"Orthogonal() of a tensor {[rows, columns]}: say how many gates stand in it, as "
                "in Orthogonal(blocks=4); a cell's declaration, param('4*H', 'D'), says so itself"
            )
        if rows % blocks:
            raise ValueError(
                f"Orthogonal(blocks={blocks}): {rows} rows do not fall into {blocks} blocks"
            )
        for block in matrix.chunk(blocks):
            init.orthogonal_(block, self.gain)


@dataclass(frozen=True)
class GateBias:
    """A start: one gate's part of a bias at ``value``, the rest uniform in ±1/√H.

    ``gate`` counts from 0 among the ``of`` gates whose biases stand one after the other: an LSTM's
    forget gate is ``GateBias(1, of=4)``. Open from the start, it lets the gradient through time
    from the first update on. Where a cell has two biases they add up: start the other at 0.

    Paper: Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015.
    """

    gate: int
    of: int
    value: float = 1.0

    def __call__(self, bias: Tensor) -> None:
        """Fill ``bias`` in place; ``ValueError`` where it has no such gate."""
        self.fill(bias, None)

    def fill(self, bias: Tensor, gates: int | None) -> None:
        """Fill ``bias``, of so many gates, in place; ``ValueError`` where it has no such gate."""
        parts = _gates(self, bias, self.of, self.gate, gates)
        bound = 1 / math.sqrt(parts[0].shape[0])
        init.uniform_(bias, -bound, bound)
        init.constant_(parts[self.gate], self.value)


@dataclass(frozen=True)
class Chrono:
    """A start: a forget gate's bias for time scales from 2 to ``longest`` steps, each unit its own.

    b_f = log(u) with u uniform in 1 … longest − 1, b_i = −b_f, all else 0. ``forget`` and ``input``
    count from 0 among the ``of`` gates whose biases stand one after the other; by default they are
    those of ``lstm``. ``input=None`` is for a cell without an input gate. Where a cell has two
    biases they add up: start the other at 0.

    Paper: Tallec and Ollivier 2018, "Can recurrent neural networks warp time?", arXiv:1804.11188.
    """

    longest: float
    forget: int = 1
    input: int | None = 0
    of: int = 4

    def __call__(self, bias: Tensor) -> None:
        """Fill ``bias`` in place; ``ValueError`` where it has no such gates."""
        self.fill(bias, None)

    def fill(self, bias: Tensor, gates: int | None) -> None:
        """Fill ``bias``, of so many gates, in place; ``ValueError`` where it has no such gates."""
        if self.longest <= 2:
            raise ValueError(f"{self}: the longest time scale must be above 2 steps")
        forget = _gates(self, bias, self.of, self.forget, gates)[self.forget]
        init.zeros_(bias)
        init.uniform_(forget, 1, self.longest - 1)
        with torch.no_grad():
            forget.log_()
            if self.input is not None:
                _gates(self, bias, self.of, self.input, gates)[self.input].copy_(-forget)


def _gates(
    start: object, bias: Tensor, of: int, gate: int, declared: int | None
) -> tuple[Tensor, ...]:
    if not 0 <= gate < of:
        raise ValueError(f"{start}: gate {gate} is none of {of} gates, which count from 0")
    if bias.ndim != 1 or bias.shape[0] % of:
        raise ValueError(f"{start}: a bias of shape {list(bias.shape)} has no {of} gates")
    if declared not in (None, of):
        raise ValueError(
            f"{start}: a bias of shape {list(bias.shape)} has {declared} gates as it is declared, "
            f"not {of}: say of={declared}, and which gate"
        )
    return bias.detach().chunk(of)
