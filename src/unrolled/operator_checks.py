"""Whether what an operator is called with fits its step.

A compiled kernel takes its arguments at their word, and a recorded program may run with anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.compiled import DTYPES
from unrolled.ir import Graph, concrete


def check(
    graph: Graph, x: Tensor, states: Sequence[Tensor], parameters: Sequence[Tensor]
) -> tuple[str, ...]:
    """The parameters' names, after every argument has been found to fit the step."""
    if x.dtype not in DTYPES:
        raise TypeError(f"x is {x.dtype}: expected torch.float32 or torch.float64")
    if x.ndim != 3:
        raise ValueError(f"x must be [T, B, D], got {list(x.shape)}")
    check_count("states", states, [v.name for v in graph.states])
    check_count("parameters", parameters, [v.name for v in graph.given])
    batch = x.shape[1]
    check_tensor("x", x, (*x.shape[:2], *concrete(graph.inputs[0].shape)), x)
    for var, state in zip(graph.states, states, strict=True):
        check_tensor(f"state {var.name}", state, (batch, *concrete(var.shape)), x)
    for var, parameter in zip(graph.given, parameters, strict=True):
        shape = (*(x.shape[:2] if var.per_step else ()), *concrete(var.shape))
        check_tensor(f"parameter {var.name}", parameter, shape, x)
    return tuple(v.name for v in graph.given)


def check_count(what: str, tensors: Sequence[Tensor], names: Sequence[str]) -> None:
    """``ValueError`` where there is not one tensor for each name."""
    if len(tensors) != len(names):
        listed = ", ".join(names) or "none"
        raise ValueError(f"expected {len(names)} {what} ({listed}), got {len(tensors)}")


def check_tensor(
    name: str, tensor: Tensor, shape: Sequence[int], like: Tensor, is_bool: bool = False
) -> None:
    """``TypeError`` or ``ValueError`` for another shape, or another dtype or device than ``like``.

    A mask (``is_bool``) has the dtype of masks.
    """
    dtype = torch.bool if is_bool else like.dtype
    if tensor.dtype != dtype:
        raise TypeError(f"{name} is {tensor.dtype}, expected {dtype}")
    if tensor.device != like.device:
        raise ValueError(f"{name} is on {tensor.device}, expected {like.device}")

    def message() -> str:
        return f"{name} must be {list(shape)}, got {list(tensor.shape)}"

    if tensor.ndim != len(shape):
        raise ValueError(message())
    for size, expected in zip(tensor.shape, shape, strict=True):
        # Of sizes that have no number yet, this makes a condition on the recorded program.
        torch._check_value(size == expected, message)  # pyright: ignore[reportPrivateUsage]
