"""Ops that work element by element, on operands of one shape or literals."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolled.ir import Equation, Shape
from unrolled.ops.table import Cost, Op, Takes, row


def _same(*shapes: Shape | None) -> Shape:
    known = [s for s in shapes if s is not None]
    if any(s != known[0] for s in known):
        raise ValueError("the operands' shapes differ")
    return known[0]


def _elementwise(
    name: str,
    run: Callable[..., Tensor],
    vjp: Callable[..., tuple[Any, ...]] | None,
    latex: tuple[int, str],
    *,
    arity: int = 1,
    cost: Cost = "cheap",
    boolean: bool = False,
    takes: Takes = "numbers",
) -> None:
    rule = None if vjp is None else (lambda equation, d, y, *args: vjp(d, y, *args))  # type: ignore[misc]
    computed = lambda equation, *t: run(*t)
    row(Op(name, arity, cost, _same, computed, rule, latex, True, boolean, takes))


_elementwise("neg", torch.neg, lambda d, y, x: (-d,), (2, "-{0}"))
_elementwise("add", torch.add, lambda d, y, a, b: (d, d), (0, "{0} + {1}"), arity=2)
_elementwise("sub", torch.sub, lambda d, y, a, b: (d, -d), (0, "{0} - {1}"), arity=2)
_elementwise("mul", torch.mul, lambda d, y, a, b: (d * b, d * a), (1, r"{0} \odot {1}"), arity=2)
_elementwise(
    "div", torch.div, lambda d, y, a, b: (d / b, -d * (y / b)), (3, r"\frac{{{0}}}{{{1}}}"), arity=2
)
_elementwise("abs", torch.abs, lambda d, y, x: (d * torch.sign(x),), (3, r"\lvert {0} \rvert"))
_elementwise("sign", torch.sign, None, (3, r"\operatorname{{sign}}({0})"))
_elementwise("relu", torch.relu, lambda d, y, x: (torch.where(x <= 0, 0.0, d),),
             (3, r"\operatorname{{relu}}({0})"))  # fmt: skip

_c: dict[str, Any] = {"cost": "costly"}
_elementwise("exp", torch.exp, lambda d, y, x: (d * y,), (3, r"e^{{{0}}}"), **_c)
_elementwise("expm1", torch.expm1, lambda d, y, x: (d * (y + 1),), (0, "e^{{{0}}} - 1"), **_c)
_elementwise("log", torch.log, lambda d, y, x: (d / x,), (3, r"\log({0})"), **_c)
_elementwise("log1p", torch.log1p, lambda d, y, x: (d / (1 + x),), (3, r"\log(1 + {0})"), **_c)
_elementwise("sqrt", torch.sqrt, lambda d, y, x: (d / (2 * y),), (3, r"\sqrt{{{0}}}"), **_c)
_elementwise("rsqrt", torch.rsqrt, lambda d, y, x: (d * (-0.5 * (y * y * y)),),
             (3, r"\frac{{1}}{{\sqrt{{{0}}}}}"), **_c)  # fmt: skip
_elementwise("sin", torch.sin, lambda d, y, x: (d * torch.cos(x),), (3, r"\sin({0})"), **_c)
_elementwise("cos", torch.cos, lambda d, y, x: (-d * torch.sin(x),), (3, r"\cos({0})"), **_c)
_elementwise(
    "erf",
    torch.erf,
    lambda d, y, x: (d * (2 / math.sqrt(math.pi) * torch.exp(-(x * x))),),
    (3, r"\operatorname{{erf}}({0})"),
    **_c,
)
_elementwise("tanh", torch.tanh, lambda d, y, x: (d * (1 - y * y),), (3, r"\tanh({0})"), **_c)
_elementwise(
    "sigmoid", torch.sigmoid, lambda d, y, x: (d * (y * (1 - y)),), (3, r"\sigma({0})"), **_c
)


def _tensor(value: Any, like: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.tensor(value, dtype=like.dtype, device=like.device)


def _of_tensors(run: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Any, Any], Tensor]:
    """``run``, which torch defines on two tensors only, for a literal on either side too."""
    return lambda a, b: run(_tensor(a, b), _tensor(b, a))


def _of_first(run: Callable[[Tensor, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    """``run``, whose first operand must be a tensor in torch, for a literal there too."""
    return lambda a, b: run(_tensor(a, b), b)


_elementwise(
    "maximum",
    _of_tensors(torch.maximum),
    lambda d, y, a, b: (_winner(d, a, b), _winner(d, b, a)),
    (3, r"\max({0}, {1})"),
    arity=2,
)
_elementwise(
    "minimum",
    _of_tensors(torch.minimum),
    lambda d, y, a, b: (_winner(d, b, a), _winner(d, a, b)),
    (3, r"\min({0}, {1})"),
    arity=2,
)


def _winner(d: Any, a: Any, b: Any) -> Any:
    """The cotangent of ``a`` where it is the larger, half of it where they tie."""
    return torch.where(a > b, d, torch.where(a == b, d * 0.5, 0.0))


for _name, _run, _sign in (
    ("lt", torch.lt, "<"),
    ("le", torch.le, r"\le"),
    ("gt", torch.gt, ">"),
    ("ge", torch.ge, r"\ge"),
    ("eq", torch.eq, "="),
    ("ne", torch.ne, r"\ne"),
):
    _latex = (0, "{0} " + _sign + " {1}")
    _elementwise(_name, _of_first(_run), None, _latex, arity=2, boolean=True)

_of_conditions: dict[str, Any] = {"boolean": True, "takes": "conditions"}
_elementwise(
    "logical_and", torch.logical_and, None, (0, r"{0} \land {1}"), arity=2, **_of_conditions
)
_elementwise("logical_or", torch.logical_or, None, (0, r"{0} \lor {1}"), arity=2, **_of_conditions)
_elementwise("logical_not", torch.logical_not, None, (2, r"\lnot {0}"), **_of_conditions)


def _where(equation: Equation, condition: Tensor, a: Any, b: Any) -> Tensor:
    return torch.where(condition, a, b)


row(
    Op(
        "where", 3, "cheap", _same, _where,
        lambda equation, d, y, c, a, b: (None, torch.where(c, d, 0.0), torch.where(c, 0.0, d)),
        (3, r"\begin{{cases}} {1} & {0} \\ {2} & \text{{else}} \end{{cases}}"), True,
        takes="choice",
    )
)  # fmt: skip


def _pow_shape(x: Shape, exponent: float) -> Shape:
    if not isinstance(exponent, (int, float)):
        raise ValueError(f"the exponent {exponent!r} is no number")
    return x


def _pow_vjp(equation: Equation, d: Any, y: Any, x: Any) -> tuple[Any, ...]:
    p = float(equation["exponent"])
    return (d * (p * x ** (p - 1)),) if p else (None,)


row(
    Op(
        "pow", 1, "costly", _pow_shape,
        lambda equation, x: torch.pow(x, equation["exponent"]), _pow_vjp,
        (3, "{0}^{{{exponent}}}"), True,
    )
)  # fmt: skip

row(Op("detach", 1, "view", lambda x: x, lambda equation, x: x.detach(), None, (3, "{0}"), True))
