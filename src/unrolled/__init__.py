"""Unrolled: recurrent neural networks compiled from their equations."""

from unrolled.cell import Cell, cell, param, state
from unrolled.errors import CellError, UnrolledError, UnsupportedByBackend
from unrolled.interop import convert, from_torch, revert, to_torch
from unrolled.lower import lower
from unrolled.nn import GRU, LSTM, RNN, Recurrent, State, Stream
from unrolled.recurrence import recurrence

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "Cell",
    "CellError",
    "Recurrent",
    "State",
    "Stream",
    "UnrolledError",
    "UnsupportedByBackend",
    "cell",
    "convert",
    "from_torch",
    "lower",
    "param",
    "recurrence",
    "revert",
    "state",
    "to_torch",
]
