"""Matrix products and transposes: a parameter's matrix times a vector, and the forms of it."""

from __future__ import annotations

from typing import Any

from unrolled.functions.arithmetic import scaled
from unrolled.functions.operands import as_proxy, axis_of, operand, sequence
from unrolled.proxy import Proxy, register


@register("matmul", "mm", "mv", "dot", "vdot")
def matmul(input: Any, other: Any) -> Any:
    """The matrix product; most often a parameter's matrix times a vector."""
    anchor = input if isinstance(input, Proxy) else other
    a, b = operand(input, anchor), operand(other, anchor)
    if not isinstance(a, Proxy) or not isinstance(b, Proxy) or not a.ndim or not b.ndim:
        anchor.fail("a matrix product with a number", "use * to scale")
    if a.ndim > 2 or b.ndim > 2:
        anchor.fail(f"a product of {a.value} and {b.value}: a cell has matrices and vectors")
    if a.shape[-1] != b.shape[0]:
        anchor.fail(
            f"the product of {a.value} and {b.value}: {a.shape[-1]} columns meet {b.shape[0]} rows",
            "W @ x needs W's last size to be x's length; x is one example's vector, without batch",
        )
    if a.ndim == 1 and b.ndim == 1:
        return (a * b).sum()
    if a.ndim == 1:
        return matmul(b.T, a)
    if not a.per_step and (b.ndim == 1 or not b.per_step):
        return a.emit("matmul", b)
    if b.ndim == 1:
        return (a * b).sum(-1)
    return (a.unsqueeze(-1) * b.unsqueeze(0)).sum(1)


@register("inner")
def inner(input: Any, other: Any) -> Any:
    """The product over the last axis of both."""
    anchor = input if isinstance(input, Proxy) else other
    a, b = operand(input, anchor), operand(other, anchor)
    if not isinstance(a, Proxy) or not isinstance(b, Proxy):
        anchor.fail("inner of a number", "use * to scale")
    return matmul(b, a) if a.ndim == 1 else matmul(a, transpose(b))


@register("outer", "ger")
def outer(input: Any, vec2: Any) -> Any:
    """The outer product of two vectors."""
    anchor = input if isinstance(input, Proxy) else vec2
    a, b = operand(input, anchor), operand(vec2, anchor)
    if not all(isinstance(v, Proxy) and v.ndim == 1 for v in (a, b)):
        anchor.fail(f"outer of {_listed(a)} and {_listed(b)}", "it takes two vectors")
    return a.unsqueeze(1) * b.unsqueeze(0)


def _listed(value: Any) -> str:
    return str(value.value) if isinstance(value, Proxy) else str(value)


@register("linear")
def linear(input: Any, weight: Any, bias: Any = None) -> Any:
    """The product over the last axis of both, plus bias."""
    y = inner(input, weight)
    return y if bias is None else y + bias


@register("addmv")
def addmv(input: Any, mat: Any, vec: Any, *, beta: float = 1, alpha: float = 1) -> Any:
    """Beta · input + alpha · mat @ vec."""
    return scaled(input, beta) + scaled(mat @ vec, alpha)


@register("t", "adjoint")
def transpose(input: Any) -> Any:
    """A matrix's transpose; a vector is its own."""
    x = as_proxy(input)
    if x.ndim > 2:
        x.fail(f"the transpose of {x.value}: only matrices are transposed in a cell")
    return x if x.ndim < 2 else x.emit("transpose")


@register("transpose", "swapaxes", "swapdims")
def swap(input: Any, dim0: int, dim1: int) -> Any:
    """A matrix with its axes exchanged."""
    x = as_proxy(input)
    order = list(range(x.ndim))
    first, second = axis_of(x, dim0), axis_of(x, dim1)
    order[first], order[second] = order[second], order[first]
    return permute(x, order)


@register("permute")
def permute(input: Any, *dims: Any) -> Any:
    """A matrix with its axes in another order."""
    x = as_proxy(input)
    order = sequence(dims)
    axes = [axis_of(x, d) + x.ndim for d in order]
    if sorted(axes) != list(range(x.ndim)):
        x.fail(f"{x.value} with its dimensions in the order {tuple(order)}", "name each once")
    return x if axes == sorted(axes) else transpose(x)
