"""Layers: any cell stacked over layers and directions, and replacements for torch's own three."""

from unrolled.nn.dropins import GRU, LSTM, RNN
from unrolled.nn.recurrent import Recurrent
from unrolled.nn.state import State
from unrolled.nn.stream import Stream
from unrolled.nn.weight_drop import weight_drop

__all__ = ["GRU", "LSTM", "RNN", "Recurrent", "State", "Stream", "weight_drop"]
