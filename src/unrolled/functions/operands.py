"""What a function's operands may be: proxies, literals, captured tensors; and how they broadcast.

Broadcasting follows torch's rules and is written out as a ``broadcast`` equation, so that every
elementwise op of the table sees operands of one shape.  A captured tensor becomes a constant of the
Graph; a captured number a literal.
"""

from __future__ import annotations

from numbers import Real
from reprlib import repr as short
from typing import Any, NoReturn

import torch
from torch import Tensor

from unrolled.errors import CellError
from unrolled.ir import Shape
from unrolled.proxy import Proxy
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
    """``value`` as a proxy or a literal; a tensor is captured into ``other``'s graph."""
    if isinstance(value, Proxy):
        return value
    if isinstance(value, Real):
        return float(value)
    if isinstance(value, Tensor):
        return capture(value, other)
    other.fail(
        f"{short(value)} stands where a traced value, a number or a tensor is expected",
        "leave the operation out where there is nothing"
        if value is None
        else "convert it with torch.as_tensor outside of the step",
    )


def capture(value: Tensor, other: Proxy) -> Any:
    """A tensor from outside of the step: a literal if it is one number, else a constant."""
    if value.requires_grad:
        other.fail(
            f"a captured tensor of shape {tuple(value.shape)} requires grad",
            "what is trained is a parameter of the cell: a keyword-only argument with param(…)",
        )
    if value.ndim == 0 and value.dtype is not torch.bool:
        return float(value)
    flat = value.detach().to("cpu", torch.float64).reshape(-1).tolist()
    var = other.builder.constant(flat, tuple(as_size(n) for n in value.shape))
    proxy = Proxy(other.builder, var, other.real_dtype)
    return proxy if value.dtype is not torch.bool else proxy.emit("ne", 0.0)


def real(value: Any) -> Any:
    """A comparison's result as 0 and 1; anything else unchanged."""
    if isinstance(value, Proxy) and value.value.dtype == "bool":
        return value.emit("where", 1.0, 0.0)
    return value


def axis_of(x: Proxy, dim: Any) -> int:
    """``dim`` counted from the end."""
    if not isinstance(dim, int) or isinstance(dim, bool) or not -x.ndim <= dim < x.ndim:
        x.fail(
            f"dimension {dim!r} of {x.value}, which has {x.ndim} dimension(s)",
            "a step sees one example, no batch; dimensions count from 0, or back from -1",
        )
    return dim - x.ndim if dim >= 0 else dim


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
    listing = " and ".join(str(o.value) for o in operands if isinstance(o, Proxy))
    anchor.fail(
        f"{what} of {listing}: their shapes don't fit each other",
        "elementwise operands need equal lengths, or length 1; a step sees one example, no batch",
    )


def sequence(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numbers that torch takes one by one or as a tuple."""
    one = len(values) == 1 and isinstance(values[0], (tuple, list))
    return tuple(values[0]) if one else tuple(values)
