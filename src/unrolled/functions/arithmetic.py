"""Arithmetic, comparisons, conditions and conversions on proxies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolled.functions.operands import align, as_proxy, operand, real
from unrolled.ir import Var
from unrolled.proxy import Proxy, register


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
    a, b = map(real, align(anchor, input, other, what=op))
    if isinstance(a, Proxy):
        return a.emit(op, b)
    if op in _SWAPPED:
        return b.emit(_SWAPPED[op], a)
    var = anchor.builder.emit(op, a, b.value)
    return Proxy(anchor.builder, var, anchor.real_dtype)


def _register_binary(op: str, *names: str) -> None:
    def handler(input: Any, other: Any) -> Any:
        return binary(op, input, other)

    handler.__name__ = op
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
    ("maximum", ("maximum",)),
    ("minimum", ("minimum",)),
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
    return input + scaled(tensor1 * tensor2, value)


@register("max")
def max_(input: Any, other: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    """The larger of two, or the largest element of one."""
    _no_indices("max", input, other, dim)
    return as_proxy(input).amax() if other is None else binary("maximum", input, other)


@register("min")
def min_(input: Any, other: Any = None, dim: Any = None, keepdim: bool = False) -> Any:
    """The smaller of two, or the smallest element of one."""
    _no_indices("min", input, other, dim)
    return as_proxy(input).amin() if other is None else binary("minimum", input, other)


def _no_indices(name: str, input: Any, other: Any, dim: Any) -> None:
    if dim is not None or isinstance(other, int):
        as_proxy(input).fail(
            f"{name} along a dimension gives indices too", f"use torch.a{name}(v, dim)"
        )


@register("fmax")
def fmax(input: Any, other: Any) -> Any:
    """The larger of two, or the one that is a number; the first where they tie."""
    return _choose("ge", input, other)


@register("fmin")
def fmin(input: Any, other: Any) -> Any:
    """The smaller of two, or the one that is a number; the first where they tie."""
    return _choose("le", input, other)


def _choose(comparison: str, input: Any, other: Any) -> Any:
    anchor = input if isinstance(input, Proxy) else other
    a, b = map(real, align(anchor, input, other))
    wins = binary(comparison, a, b)
    if isinstance(b, Proxy):
        wins = wins | (b != b)
    return wins.emit("where", a, b)


def _truth(value: Any) -> Any:
    if isinstance(value, Proxy) and value.value.dtype != "bool":
        return value.emit("ne", 0.0)
    return value


def _register_logical(op: str, *names: str) -> None:
    def handler(input: Any, other: Any) -> Any:
        anchor = input if isinstance(input, Proxy) else other
        a, b = map(_truth, align(anchor, input, other, what=op))
        first, second = (a, b) if isinstance(a, Proxy) else (b, a)
        if not isinstance(second, Proxy):
            anchor.fail(
                f"{op} of a traced value and a number", "compare both sides: (x > 0) & (y > 0)"
            )
        return first.emit(op, second)

    handler.__name__ = op
    register(*names)(handler)


# A captured mask on the left, as in mask & (x > 0), hands over under its operator's own name.
_register_logical("logical_and", "logical_and", "bitwise_and", "__and__")
_register_logical("logical_or", "logical_or", "bitwise_or", "__or__")


@register("logical_not", "bitwise_not")
def logical_not(input: Any) -> Any:
    """Where the condition does not hold."""
    return as_proxy(_truth(input)).emit("logical_not")


@register("clone", "contiguous")
def identity(input: Any, memory_format: Any = None) -> Any:
    """The value itself: nothing in a step writes to it."""
    return input


@register("bool")
def truth(input: Any) -> Any:
    """Where a value is not 0."""
    return _truth(as_proxy(input))


@register("float")
def to_float(input: Any) -> Any:
    """A comparison's result as numbers; a value stays what it is."""
    return convert(input, torch.float32)


@register("double")
def to_double(input: Any) -> Any:
    """A comparison's result as numbers; a value stays what it is."""
    return convert(input, torch.float64)


@register("to", "type", "type_as")
def convert(input: Any, *target: Any, **named: Any) -> Any:
    """A comparison's result as numbers; a step has one floating type otherwise."""
    x = as_proxy(input)
    given = [*target, named.get("dtype"), named.get("other")]
    wanted = [t.dtype if isinstance(t, (Proxy, Tensor)) else t for t in given]
    types = [t for t in wanted if isinstance(t, torch.dtype)]
    if torch.bool in types:
        return _truth(x)
    if any(not t.is_floating_point or x.dtype not in (t, torch.bool) for t in types):
        x.fail(
            f"a conversion of {x.value} to {types[0]}: the step runs in {x.real_dtype}",
            "leave it out: the whole step runs in the type of its input",
        )
    return real(x) if types else x


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
