"""A cell's input, states, parameters and output gradient at one point, the same for all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from benchmarks.grid import Point
from unrolled.cell import Cell
from unrolled.cells import CELLS

Mode = Literal["inference", "training"]
MODES: tuple[Mode, ...] = ("inference", "training")

DROP_IN: tuple[str, ...] = ("rnn", "gru", "lstm")
CUSTOM: tuple[str, ...] = ("gru_cho", "lstm_peephole_gers", "lstm_layer_norm")


@dataclass(frozen=True)
class Problem:
    """``x`` [T, B, D], ``states`` ([B, H] each), ``params`` by name, ``d_y`` [T, B, H]; float32."""

    cell: Cell
    point: Point
    x: Tensor
    states: tuple[Tensor, ...]
    params: dict[str, Tensor]
    d_y: Tensor

    def leaves(self, mode: Mode) -> tuple[Tensor, dict[str, Tensor]]:
        """Own copies of ``x`` and the parameters, that require gradients in training."""
        training = mode == "training"
        own = {n: p.clone().requires_grad_(training) for n, p in self.params.items()}
        return self.x.clone().requires_grad_(training), own


def make(cell_name: str, point: Point) -> Problem:
    """A textbook cell's problem with torch.nn's scale of weights, equal each time it is made."""
    return of_cell(CELLS[cell_name], point)


def of_cell(cell: Cell, point: Point) -> Problem:
    """The same for any cell."""
    generator = torch.Generator().manual_seed(0)
    shapes = cell.parameter_shapes(cell.resolve_sizes(point.D, point.H))

    def uniform(name: str, shape: tuple[int, ...]) -> Tensor:
        values = (2 * torch.rand(shape, generator=generator) - 1) / point.H**0.5
        # Layer normalisation's gains near 0 would hide its cell; near 1 the recurrence is chaotic:
        # rounding grows from step to step, and no two programs agree after a hundred.
        return values + 0.25 if name.startswith("gain") else values

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    return Problem(
        cell,
        point,
        normal(point.T, point.B, point.D),
        tuple(normal(point.B, point.H) for _ in cell.states),
        {name: uniform(name, tuple(map(int, shape))) for name, shape in shapes.items()},
        normal(point.T, point.B, point.H),
    )
