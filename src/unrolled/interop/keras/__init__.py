"""Keras's SimpleRNN, GRU and LSTM, alone or bidirectional, as ours and back."""

from unrolled.interop.keras.forms import KerasLayer
from unrolled.interop.keras.reading import from_keras
from unrolled.interop.keras.writing import to_keras

__all__ = ["KerasLayer", "from_keras", "to_keras"]
