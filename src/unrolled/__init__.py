"""Unrolled: recurrent neural networks compiled from their equations."""

from unrolled.cell import Cell, cell, param, state
from unrolled.combinators import (
    Chrono,
    GateBias,
    Orthogonal,
    initialised,
    layer_norm,
    project,
    residual,
    rms_norm,
    with_activation,
)
from unrolled.errors import CellError, UnrolledError, UnsupportedByBackend
from unrolled.lower import lower
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.recurrence import recurrence

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "CellError",
    "Chrono",
    "GateBias",
    "Orthogonal",
    "Recurrent",
    "UnrolledError",
    "UnsupportedByBackend",
    "cell",
    "initialised",
    "layer_norm",
    "lower",
    "param",
    "project",
    "recurrence",
    "residual",
    "rms_norm",
    "state",
    "with_activation",
]
