"""Coming from and going to elsewhere: torch's own modules and Keras's layers.

ONNX is ``interop.onnx``, C ``interop.c``.
"""

from unrolled.interop.in_place import Conversion, convert, revert
from unrolled.interop.keras import KerasLayer, from_keras, to_keras
from unrolled.interop.torch_modules import from_torch, to_torch

__all__ = [
    "Conversion",
    "KerasLayer",
    "convert",
    "from_keras",
    "from_torch",
    "revert",
    "to_keras",
    "to_torch",
]
