"""Composed cells: each function of cells on stock cells and on one of a user's, and some nested."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, tanh

import unrolled as ur
from unrolled import cells, noise, param, state
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


@ur.cell
def noisy(
    x: Any, h: Any, *, W: Any = param("H", "D"), U: Any = param("H", "H"),
    m: Any = noise("H", p=0.25), k: Any = noise("D", p=0.5, each="sequence"),
) -> Any:  # fmt: skip
    """A user's own noise: one kind drawn at each step, one once a sequence."""
    return tanh(W @ (2 * k * x) + U @ h) * (1 - m) + m * h


NOISY: dict[str, Cell] = {
    made.name: made
    for made in (
        noisy,
        ur.zoneout(cells.lstm, h=0.25, c=0.5),
        ur.zoneout(cells.gru_cho, h=0.25),
        ur.zoneout(reader, s=0.5, m=0.25),
        ur.zoneout(ur.zoneout(cells.sru, c=0.5), c=0.75),
        ur.variational_dropout(cells.lstm, input=0.5, h=0.25, output=0.5),
        ur.variational_dropout(cells.gru_full, c=0.5),
        ur.variational_dropout(reader, s=0.5, m=0.5, output=0.25),
        ur.residual(
            ur.layer_norm(ur.zoneout(ur.variational_dropout(cells.gru, h=0.5), h=0.5)), project=True
        ),
        ur.variational_dropout(
            ur.layer_norm(ur.project(noisy, "O"), "products", "h"), input=0.25, h=0.5, output=0.5
        ),
    )
}

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
