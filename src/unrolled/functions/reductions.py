"""Reductions over feature axes: sum, mean, variance, norms, largest and smallest."""

from __future__ import annotations

from typing import Any

from unrolled.functions.activations import where
from unrolled.functions.arithmetic import unary
from unrolled.functions.operands import as_proxy, axis_of, real
from unrolled.ir import n_elements
from unrolled.proxy import Proxy, register


def _axes(x: Proxy, dim: Any) -> list[int]:
    """Axes counted from the end; all of them for ``None``."""
    if dim is None or dim == ():
        return list(range(-x.ndim, 0))
    given = dim if isinstance(dim, (tuple, list)) else [dim]  # type: ignore[arg-type]
    return [axis_of(x, d) for d in given]


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
    return reduce("amax", real(input), dim, keepdim)


@register("amin")
def amin(input: Any, dim: Any = None, keepdim: bool = False) -> Proxy:
    """The smallest element along axes."""
    return -reduce("amax", -as_proxy(real(input)), dim, keepdim)


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
    correction: float | None = None,
) -> Any:
    """The variance along axes, over n - correction (1 unless said otherwise)."""
    x = as_proxy(real(input))
    if isinstance(dim, bool):  # torch.var(x, unbiased)
        dim, unbiased = None, dim
    minus = (1 if unbiased else 0) if correction is None else correction
    n = _count(x, dim)
    if n <= minus:
        x.fail(f"the variance over {n} - {minus} entries of {x.value}", "use correction=0")
    centred = x - mean(x, dim, True)
    return sum_(centred * centred, dim, keepdim) / float(n - minus)


@register("std")
def std(
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Any:
    """The standard deviation along axes, whose derivative at 0 is 0 as in torch."""
    return _root(var(input, dim, unbiased, keepdim, correction=correction))


@register("norm")
def norm(input: Any, p: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    """The Euclidean norm along axes, whose derivative at 0 is 0 as in torch."""
    x = as_proxy(real(input))
    if p not in (2, "fro", None):
        x.fail(
            f"norm with p={p!r}: a cell has the Euclidean norm", "write it out with abs, ** and sum"
        )
    return _root(sum_(x * x, dim, keepdim))


@register("linalg_vector_norm")
def vector_norm(
    x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Any:
    """``norm`` as torch.linalg has it."""
    return norm(x, ord, dim, keepdim)


def _root(squares: Proxy) -> Proxy:
    safe = where(squares == 0, 1.0, squares)
    return where(squares == 0, 0.0, unary("sqrt")(safe))
