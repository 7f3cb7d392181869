"""Composed cells: each function of cells on stock cells and on one of a user's, and some nested."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, tanh

import unrolled as ur
from unrolled import cells, param, state
from unrolled.cell import Cell


@ur.cell
def reader(
    x: Any, s: Any = state("P"), m: Any = state("H"), *, W: Any = param("P", "D"),
    V: Any = param("H", "P+D"), R: Any = param("D", "H"), slope: Any = 0.5,
) -> Any:  # fmt: skip
    """Two states of different lengths, an output that is neither, methods, linear, an option."""
    s = slope * s + (W @ x).tanh()
    m = m.lerp(torch.sigmoid(torch.nn.functional.linear(torch.cat([s, x]), V)), 0.25)
    y = tanh(m) @ R.T
    return y, (s, m), {"read": s}


def squared(v: Tensor) -> Tensor:
    return 0.5 * v * torch.sigmoid(v) + 0.1 * v


COMPOSED: dict[str, Cell] = {
    made.name: made
    for made in (
        ur.residual(cells.lstm, project=True),
        ur.residual(reader),
        ur.residual(ur.residual(cells.gru, project=True), project=True),
        ur.project(cells.lstm, "P"),
        ur.project(reader, 4),
        ur.layer_norm(cells.lstm),
        ur.layer_norm(cells.gru_cho),
        ur.layer_norm(cells.elman_rows, "h"),
        ur.layer_norm(cells.lstm, "products", "c", "output"),
        ur.layer_norm(reader, "products", "s", "m", "output"),
        ur.rms_norm(cells.gru, "h"),
        ur.rms_norm(reader),
        ur.with_activation(cells.lstm, tanh=squared),
        ur.with_activation(reader, tanh=torch.sigmoid, sigmoid=torch.tanh),
        ur.with_activation(ur.with_activation(cells.gru, tanh=squared), sigmoid=torch.tanh),
        ur.initialised(cells.gru, W_hh=ur.Orthogonal()),
        ur.residual(ur.layer_norm(ur.with_activation(cells.lstm_projected, sigmoid=squared))),
        ur.project(ur.rms_norm(cells.rnn.bind(b_hh=0.0), "products", "h"), "O"),
        ur.layer_norm(
            Cell.from_graphs([cells.gru.graph({"D": 5, "H": 5}, torch.float64)]), "products", "h"
        ),
    )
}
