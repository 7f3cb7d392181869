"""``backend="auto"`` of the drop-ins: our kernels where they are the faster, torch's elsewhere.

A call of ours costs some 35 µs more than one of torch's, for checking its arguments and packing the
weights, and gains it back within a few steps.  Where torch transforms or records a call (``vmap``,
``torch.func``, forward-mode derivatives, ``torch.compile``, ``torch.export``), the equations run:
torch's own kernels have no rules for some of these, and are unrolled in time by others.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.backends.cpu.build import compiler
from unrolled.differentiable import torch_transforms

LEAST_STEPS = 8
"""From how many time steps on a call of ours is the faster, whatever the sizes."""

RULE = f"""all layers, sequences of {LEAST_STEPS} steps or more, and recorded: compiled, as below
all layers, shorter sequences, and under autocast:"""

_DTYPES = (torch.float32, torch.float64)


def can_run(weight: Tensor) -> bool:
    """Whether our CPU kernels can serve a module with this weight at all."""
    return weight.device.type == "cpu" and weight.dtype in _DTYPES and compiler() is not None


def runs_ours(input: Any, weight: Tensor, batch_first: bool) -> bool:
    """Whether this call is to run on our kernels, or as equations that torch transforms."""
    if not isinstance(input, (Tensor, PackedSequence)):
        return False
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        return False
    if torch_transforms():
        return weight.dtype in _DTYPES
    data = input.data if isinstance(input, PackedSequence) else input
    if data.device.type != "cpu":
        return False
    if torch.compiler.is_compiling():
        return weight.dtype in _DTYPES
    if data.dtype != weight.dtype or not can_run(weight):
        return False
    return not torch.is_autocast_enabled("cpu") and _steps(input, batch_first) >= LEAST_STEPS


def _steps(input: Tensor | PackedSequence, batch_first: bool) -> int:
    """The number of time steps; none where the input is of no form that there is."""
    if isinstance(input, PackedSequence):
        return len(input.batch_sizes)
    if input.is_nested:
        return LEAST_STEPS
    if input.ndim not in (2, 3):
        return 0
    return input.shape[1 if batch_first and input.ndim == 3 else 0]
