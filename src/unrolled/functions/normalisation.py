"""Softmax and the normalisations, composed so that derivatives and backends get them free."""

from __future__ import annotations

import math
from typing import Any

import torch

from unrolled.functions.activations import where
from unrolled.functions.arithmetic import unary
from unrolled.functions.operands import as_proxy
from unrolled.functions.reductions import amax, mean, sum_
from unrolled.proxy import Proxy, register


@register("softmax")
def softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """e^x over its sum, shifted by the largest element so that nothing overflows."""
    x = as_proxy(input)
    e = unary("exp")(x - amax(x, _softmax_dim(x, dim), True).emit("detach"))
    return e / sum_(e, _softmax_dim(x, dim), True)


@register("log_softmax")
def log_softmax(input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Any:
    """The logarithm of softmax, without overflow."""
    x = as_proxy(input)
    shifted = x - amax(x, _softmax_dim(x, dim), True).emit("detach")
    return shifted - unary("log")(sum_(unary("exp")(shifted), _softmax_dim(x, dim), True))


@register("logsumexp")
def logsumexp(input: Any, dim: Any, keepdim: bool = False) -> Any:
    """The logarithm of the sum of e^x, without overflow."""
    x = as_proxy(input)
    largest = amax(x, dim, True).emit("detach")
    largest = where(unary("abs")(largest) == math.inf, 0.0, largest)
    total = unary("log")(sum_(unary("exp")(x - largest), dim, True)) + largest
    return total if keepdim else sum_(total, dim)


def _softmax_dim(x: Proxy, dim: int | None) -> int:
    if dim is None:
        x.fail("softmax needs the dimension it runs along", "softmax(v, dim=-1)")
    return dim


@register("layer_norm")
def layer_norm(
    input: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Any:  # fmt: skip
    """(x - mean) / sqrt(variance + eps), scaled and shifted (Ba et al. 2016)."""
    x = as_proxy(input)
    dims = _normalized(x, normalized_shape)
    centred = x - mean(x, dims, True)
    y = centred * unary("rsqrt")(mean(centred * centred, dims, True) + eps)
    if weight is not None:
        y = y * weight
    return y if bias is None else y + bias


@register("rms_norm")
def rms_norm(
    input: Any, normalized_shape: Any, weight: Any = None, eps: float | None = None
) -> Any:
    """The input over the root of its mean square, scaled (Zhang & Sennrich 2019)."""
    x = as_proxy(input)
    small = torch.finfo(x.dtype).eps if eps is None else eps
    y = x * unary("rsqrt")(mean(x * x, _normalized(x, normalized_shape), True) + small)
    return y if weight is None else y * weight


def _normalized(x: Proxy, shape: Any) -> list[int]:
    wanted = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)  # type: ignore[arg-type]
    if not wanted or tuple(x.shape[-len(wanted) :]) != wanted:
        x.fail(f"normalized_shape {wanted} does not end the shape of {x.value}")
    return list(range(-len(wanted), 0))
