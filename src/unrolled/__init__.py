"""Unrolled: recurrent neural networks compiled from their equations."""

from unrolled.cell import Cell, cell, param, state
from unrolled.errors import CellError, UnrolledError, UnsupportedByBackend
from unrolled.trace import trace

__all__ = [
    "Cell",
    "CellError",
    "UnrolledError",
    "UnsupportedByBackend",
    "cell",
    "param",
    "state",
    "trace",
]
