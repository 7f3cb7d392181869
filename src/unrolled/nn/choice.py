"""``backend="auto"`` of the drop-ins: our kernels where they are the faster, torch's elsewhere.

A call of ours costs some 35 µs more than one of torch's, for checking its arguments and packing the
weights, and gains it back within a few steps.  Torch's transforms (``vmap``, forward-mode
derivatives, ``torch.compile``, tracing) have to see torch's own functions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled.backends.cpu.build import compiler
from unrolled.differentiable import torch_transforms

LEAST_STEPS = 8
"""From how many time steps on a call of ours is the faster, whatever the sizes."""

RULE = f"""all layers, padded sequences of {LEAST_STEPS} steps or more: compiled, as below
all layers, shorter or packed sequences, and under torch's transforms:"""

_DTYPES = (torch.float32, torch.float64)


def can_run(weight: Tensor) -> bool:
    """Whether our CPU kernels can serve a module with this weight at all."""
    return weight.device.type == "cpu" and weight.dtype in _DTYPES and compiler() is not None


def runs_ours(input: Any, weight: Tensor, batch_first: bool) -> bool:
    """Whether this call is to run on our kernels."""
    if not isinstance(input, Tensor) or input.ndim not in (2, 3) or not can_run(weight):
        return False
    n_steps = input.shape[1 if batch_first and input.ndim == 3 else 0]
    if n_steps < LEAST_STEPS or input.device.type != "cpu" or input.dtype != weight.dtype:
        return False
    return not (_transformed() or torch.is_autocast_enabled("cpu"))


def _transformed() -> bool:
    """Whether torch is looking on."""
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        or torch_transforms()
    )
