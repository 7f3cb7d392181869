"""Torch's own kernels for whole stacks: which one runs where, and what it can't do.

Torch chooses the kernel inside the ``forward`` of ``torch.nn``'s modules; here stands what it
chooses, in words for people.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

NAME = "torch"
"""What these kernels are called as a backend."""


NO_RULES = (
    "torch's own kernels, which backend='torch' runs, have no rules for some of torch.func's "
    "transforms and of forward-mode AD: take backend='auto', which runs the equations there"
)
"""What is said where they fail within one."""


@dataclass(frozen=True)
class Kernel:
    """A kernel, and whether its backward pass can be differentiated or run after ``.eval()``."""

    name: str
    second_derivatives: bool = True
    backward_in_eval: bool = True


LOOP = Kernel("ATen's loop over time, a matrix product and some elementwise kernels each step")


def kernel(mode: str, proj_size: int, weight: Tensor) -> Kernel:
    """What torch runs for a ``torch.nn.RNNBase`` of this mode whose weights are like ``weight``."""
    device = weight.device.type
    if device == "cuda" and torch.backends.cudnn.is_acceptable(weight):
        return Kernel("MIOpen" if torch.version.hip else "cuDNN", False, False)
    if device == "mps" and mode == "LSTM":
        return Kernel("the LSTM of Metal Performance Shaders", False)
    if device == "cpu" and mode == "LSTM" and not proj_size and _onednn_takes(weight.dtype):
        return Kernel("oneDNN's fused LSTM (for a PackedSequence, ATen's loop over time)")
    return LOOP


def explain(mode: str, proj_size: int, weight: Tensor, backend: str) -> str:
    """The kernel, why it is the one, and what it can't do."""
    chosen = kernel(mode, proj_size, weight)
    reason = "the fastest there" if backend == "auto" else "which was asked for"
    where = f"{str(weight.dtype).removeprefix('torch.')} on {weight.device.type}"
    lines = [f"all layers: backend {NAME!r}, {reason}", f"  in {where}: {chosen.name}"]
    if not chosen.second_derivatives:
        lines.append("  it has no second derivatives; backend='reference' has them")
    if not chosen.backward_in_eval:
        lines.append("  its backward pass needs .train(); backend='reference' has it after .eval()")
    return "\n".join(lines)


def _onednn_takes(dtype: torch.dtype) -> bool:
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return False
    if dtype is torch.bfloat16:
        return torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return dtype is torch.float32
