"""Unrolled: recurrent neural networks compiled from their equations."""

from unrolled.cell import Cell, cell, noise, param, state
from unrolled.combinators import (
    Chrono,
    GateBias,
    Orthogonal,
    initialised,
    layer_norm,
    project,
    residual,
    rms_norm,
    variational_dropout,
    with_activation,
    zoneout,
)
from unrolled.errors import CellError, UnrolledError, UnsupportedByBackend
from unrolled.interop import convert, from_torch, revert, to_torch
from unrolled.lower import lower
from unrolled.nn import GRU, LSTM, RNN, Recurrent, State, Stream, weight_drop
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
    "State",
    "Stream",
    "UnrolledError",
    "UnsupportedByBackend",
    "cell",
    "convert",
    "from_torch",
    "initialised",
    "layer_norm",
    "lower",
    "noise",
    "param",
    "project",
    "recurrence",
    "residual",
    "revert",
    "rms_norm",
    "state",
    "to_torch",
    "variational_dropout",
    "weight_drop",
    "with_activation",
    "zoneout",
]
