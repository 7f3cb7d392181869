"""ONNX: layers as models for its runtimes, and its recurrent nodes as modules.

``import unrolled.interop.onnx``; it needs the extra ``onnx``.
"""

try:
    import onnx as onnx
except ImportError as error:
    raise ImportError(
        "unrolled.interop.onnx needs the package onnx: pip install 'unrolled[onnx]'"
    ) from error

from unrolled.interop.onnx.export import export, export_step
from unrolled.interop.onnx.load import load
from unrolled.interop.onnx.node import RecurrentNode

__all__ = ["RecurrentNode", "export", "export_step", "load"]
