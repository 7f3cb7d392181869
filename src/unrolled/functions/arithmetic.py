"""Arithmetic on proxies: literals, captured tensors, broadcasting.

Broadcasting follows torch's rules and is written out as a ``broadcast`` equation, so that every
elementwise op of the table sees operands of one shape.  A captured tensor becomes a constant of the
Graph; a captured number a literal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor

from unrolled.errors import CellError
from unrolled.ir import Shape, Var
from unrolled.proxy import Proxy, register
from unrolled.sizes import as_size


def as_proxy(value: Any) -> Proxy:
    """``value`` as a proxy, for functions whose first operand must be traced."""
    if isinstance(value, Proxy):
        return value
    raise CellError(
        f"expected a traced value, got {type(value).__name__}",
        "apply it to the input, a state or a parameter of the cell",
    )


def operand(value: Any, other: Proxy) -> Any:
    """``value`` as a proxy or a literal number, captured into ``other``'s graph where it is a tensor."""
    if isinstance(value, Proxy):
        return value
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, Tensor):
        return capture(value, other)
    other.fail(
        f"{type(value).__name__} {value!r} is neither a traced value, a number nor a tensor",
        "convert it with torch.as_tensor outside of the step",
    )


def capture(value: Tensor, other: Proxy) -> Any:
    """A tensor from outside of the step: a literal if it has one element and no axes, else a constant."""
    if value.requires_grad:
        other.fail(
            f"a captured tensor of shape {tuple(value.shape)} requires grad",
            "what is trained must be a parameter of the cell: a keyword-only argument with param(…)",
        )
    if value.ndim == 0:
        return float(value)
    flat = value.detach().to("cpu", torch.float64).reshape(-1).tolist()
    var = other.builder.constant(flat, tuple(as_size(n) for n in value.shape))
    proxy = Proxy(other.builder, var, other.real_dtype)
    return proxy if value.dtype is not torch.bool else proxy.emit("ne", 0.0)


def real(value: Any) -> Any:
    """A comparison's result as 0 and 1; anything else unchanged."""
    if isinstance(value, Proxy) and value.var.dtype == "bool":
        return value.emit("where", 1.0, 0.0)
    return value


def broadcast_shape(a: Shape, b: Shape) -> Shape | None:
    """The common shape by torch's rules, or ``None``."""
    n = max(len(a), len(b))
    left = (1,) * (n - len(a)) + tuple(a)
    right = (1,) * (n - len(b)) + tuple(b)
    if any(p != q and 1 not in (p, q) for p, q in zip(left, right, strict=True)):
        return None
    return tuple(q if p == 1 else p for p, q in zip(left, right, strict=True))


def align(anchor: Proxy, *values: Any, what: str = "the operation") -> list[Any]:
    """The operands as proxies of one shape, and literals."""
    operands = [operand(v, anchor) for v in values]
    shape: Shape = ()
    for o in operands:
        if isinstance(o, Proxy):
            common = broadcast_shape(shape, o.shape)
            if common is None:
                _misfit(anchor, what, operands)
            shape = common
    return [_to_shape(o, shape) if isinstance(o, Proxy) else o for o in operands]


def _to_shape(proxy: Proxy, shape: Shape) -> Proxy:
    return proxy if tuple(proxy.shape) == tuple(shape) else proxy.emit("broadcast", shape=shape)


def _misfit(anchor: Proxy, what: str, operands: list[Any]) -> NoReturn:
    listing = " and ".join(str(o.var) for o in operands if isinstance(o, Proxy))
    anchor.fail(
        f"{what} of {listing}: their shapes don't fit each other",
        "elementwise operands need equal lengths, or length 1; a vector is one example's, without batch",
    )


def unary(op: str) -> Callable[[Any], Any]:
    """A handler for an elementwise op of one operand."""

    def handler(input: Any) -> Any:
        return as_proxy(real(input)).emit(op)

    handler.__name__ = op
    return handler


_SWAPPED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le", "eq": "eq", "ne": "ne"}


def binary(op: str, input: Any, other: Any) -> Any:
    """An elementwise op of two operands; a literal may stand on either side."""
    anchor = input if isinstance(input, Proxy) else other
    a, b = align(anchor, real(input), real(other), what=op)
    if isinstance(a, Proxy):
        return a.emit(op, b)
    if op in _SWAPPED:
        return b.emit(_SWAPPED[op], a)
    var = anchor.builder.emit(op, a, b.var)
    return Proxy(anchor.builder, var, anchor.real_dtype)


def _register_binary(op: str, *names: str) -> None:
    def handler(input: Any, other: Any) -> Any:
        return binary(op, input, other)

    register(*names)(handler)


for _op in ("lt", "le", "gt", "ge", "eq", "ne"):
    _register_binary(_op, _op)
for _op, _names in (
    ("mul", ("mul", "multiply")),
    ("lt", ("less",)),
    ("le", ("less_equal",)),
    ("gt", ("greater",)),
    ("ge", ("greater_equal",)),
    ("ne", ("not_equal",)),
    ("maximum", ("maximum", "fmax")),
    ("minimum", ("minimum", "fmin")),
):
    _register_binary(_op, *_names)


def scaled(other: Any, alpha: float) -> Any:
    """``alpha · other``, without a product by 1."""
    return other if alpha == 1 else other * alpha


@register("add")
def add(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """Input + alpha · other."""
    return binary("add", input, scaled(other, alpha))


@register("sub", "subtract")
def sub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """Input - alpha · other."""
    return binary("sub", input, scaled(other, alpha))


@register("rsub")
def rsub(input: Any, other: Any, *, alpha: float = 1) -> Any:
    """Other - alpha · input."""
    return binary("sub", other, scaled(input, alpha))


@register("div", "divide", "true_divide")
def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Any:
    """Input / other."""
    if rounding_mode is not None:
        as_proxy(input).fail(
            "div with a rounding mode has no useful derivative", "use plain division"
        )
    return binary("div", input, other)


@register("reciprocal")
def reciprocal(input: Any) -> Any:
    """1 / x."""
    return binary("div", 1.0, input)


@register("square")
def square(input: Any) -> Any:
    """x²."""
    return binary("mul", input, input)


@register("pow", "float_power")
def power(input: Any, exponent: Any) -> Any:
    """X to the power of a number, or a positive number to the power of x."""
    anchor = input if isinstance(input, Proxy) else exponent
    base, p = operand(input, anchor), operand(exponent, anchor)
    if isinstance(base, Proxy) and isinstance(p, float):
        return as_proxy(real(base)).emit("pow", exponent=p)
    if isinstance(p, Proxy) and isinstance(base, float) and base > 0:
        return (p * float(torch.tensor(base, dtype=torch.float64).log())).emit("exp")
    anchor.fail(
        "a power needs a number as its exponent (or a positive number as its base)",
        "for positive a, a ** b is torch.exp(b * torch.log(a))",
    )


@register("lerp")
def lerp(input: Any, end: Any, weight: Any) -> Any:
    """Start + weight · (end - start)."""
    return input + weight * (end - input)


@register("addcmul")
def addcmul(input: Any, tensor1: Any, tensor2: Any, *, value: float = 1) -> Any:
    """Input + value · a · b."""
    return input + scaled(binary("mul", tensor1, tensor2), value)


@register("max")
def max_(input: Any, other: Any = None) -> Any:
    """The larger of two, or the largest element of one."""
    if other is None:
        return as_proxy(input).amax()
    if isinstance(other, int):
        as_proxy(input).fail("max along a dimension gives indices too", "use torch.amax(v, dim)")
    return binary("maximum", input, other)


@register("min")
def min_(input: Any, other: Any = None) -> Any:
    """The smaller of two, or the smallest element of one."""
    if other is None:
        return as_proxy(input).amin()
    if isinstance(other, int):
        as_proxy(input).fail("min along a dimension gives indices too", "use torch.amin(v, dim)")
    return binary("minimum", input, other)


def _truth(value: Any) -> Any:
    if isinstance(value, Proxy) and value.var.dtype != "bool":
        return value.emit("ne", 0.0)
    return value


def _register_logical(op: str, *names: str) -> None:
    def handler(input: Any, other: Any) -> Any:
        anchor = input if isinstance(input, Proxy) else other
        a, b = align(anchor, _truth(input), _truth(other), what=op)
        first, second = (a, b) if isinstance(a, Proxy) else (b, a)
        if not isinstance(second, Proxy):
            anchor.fail(
                f"{op} of a traced value and a number", "compare both sides: (x > 0) & (y > 0)"
            )
        return first.emit(op, second)

    register(*names)(handler)


_register_logical("logical_and", "logical_and", "bitwise_and")
_register_logical("logical_or", "logical_or", "bitwise_or")


@register("logical_not", "bitwise_not")
def logical_not(input: Any) -> Any:
    """Where the condition does not hold."""
    return as_proxy(_truth(input)).emit("logical_not")


@register("clone", "contiguous", "alias")
def identity(input: Any, memory_format: Any = None) -> Any:
    """The value itself: nothing in a step writes to it."""
    return input


@register("to", "type", "type_as", "float", "double", "bool")
def convert(input: Any, *target: Any, **_: Any) -> Any:
    """A comparison's result as numbers; a step has one floating type otherwise."""
    x = as_proxy(input)
    wanted = [t.dtype if isinstance(t, (Proxy, Tensor)) else t for t in target]
    if any(isinstance(t, torch.dtype) and t not in (x.dtype, x.real_dtype) for t in wanted):
        x.fail(
            f"a conversion of {x.var} to {wanted[0]}: the step runs in {x.real_dtype}",
            "convert the layer or its input instead",
        )
    return real(x)


@register("zeros_like")
def zeros_like(input: Any, **_: Any) -> Any:
    """Zeros of the same shape."""
    return full_like(input, 0.0)


@register("ones_like")
def ones_like(input: Any, **_: Any) -> Any:
    """Ones of the same shape."""
    return full_like(input, 1.0)


@register("full_like")
def full_like(input: Any, fill_value: float, **_: Any) -> Any:
    """One number in the same shape."""
    x = as_proxy(input)
    n = 1
    for s in x.shape:
        n *= int(s)
    var: Var = x.builder.constant([float(fill_value)] * n, tuple(x.shape))
    return Proxy(x.builder, var, x.real_dtype)
