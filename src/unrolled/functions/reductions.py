"""Reductions over feature axes: sum, mean, variance, norms, largest and smallest."""

from __future__ import annotations

from typing import Any

from unrolled.functions.activations import where
from unrolled.functions.arithmetic import as_proxy, real, unary
from unrolled.ir import n_elements
from unrolled.proxy import Proxy, register


def _axes(x: Proxy, dim: Any) -> list[int]:
    """Axes counted from the end; all of them for ``None``."""
    if dim is None or dim == ():
        return list(range(-x.ndim, 0))
    given = list(dim) if isinstance(dim, (tuple, list)) else [dim]  # type: ignore[arg-type]
    for d in given:
        if not -x.ndim <= d < x.ndim:
            x.fail(f"dimension {d} of {x.var}, which has {x.ndim}")
    return [d - x.ndim if d >= 0 else d for d in given]


def reduce(op: str, x: Any, dim: Any, keepdim: bool) -> Proxy:
    """Apply a reduction of the op table along axes, and drop them unless they are kept."""
    x = as_proxy(x)
    axes = _axes(x, dim)
    y = x
    for axis in axes:
        y = y.emit(op, axis=axis)
    if keepdim or not axes:
        return y
    kept = tuple(n for a, n in enumerate(x.shape) if a - x.ndim not in axes)
    return y.emit("reshape", shape=kept)


@register("sum")
def sum_(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Proxy:
    """The sum along axes."""
    return reduce("sum", real(input), dim, keepdim)


@register("amax")
def amax(input: Any, dim: Any = None, keepdim: bool = False) -> Proxy:
    """The largest element along axes."""
    return reduce("amax", input, dim, keepdim)


@register("amin")
def amin(input: Any, dim: Any = None, keepdim: bool = False) -> Proxy:
    """The smallest element along axes."""
    return -reduce("amax", -as_proxy(input), dim, keepdim)


def _count(x: Proxy, dim: Any) -> int:
    return n_elements(tuple(x.shape[a] for a in _axes(x, dim)))


@register("mean")
def mean(input: Any, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Any:
    """The mean along axes."""
    return reduce("mean", real(input), dim, keepdim)


@register("var")
def var(
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Any:
    """The variance along axes, over n - correction (1 unless said otherwise)."""
    x = as_proxy(input)
    minus = (1 if unbiased else 0) if correction is None else correction
    centred = x - mean(x, dim, True)
    return sum_(centred * centred, dim, keepdim) / float(_count(x, dim) - minus)


@register("std")
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: int | None = None,
) -> Any:
    """The standard deviation along axes."""
    return unary("sqrt")(var(input, dim, unbiased, keepdim, correction=correction))


@register("norm", "vector_norm", "linalg_vector_norm")
def norm(input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """The Euclidean norm along axes, whose derivative at 0 is 0 as in torch."""
    x = as_proxy(input)
    if p not in (2, 2.0, "fro", None):
        x.fail(
            f"norm with p={p!r}: a cell has the Euclidean norm", "write it out with abs, ** and sum"
        )
    squares = sum_(x * x, dim, keepdim)
    safe = where(squares == 0, 1.0, squares)
    return where(squares == 0, 0.0, unary("sqrt")(safe))
