"""The op table: everything that may stand in a Graph, one row an op.

A row says how an op's result is shaped, how torch computes it, how its cotangent is passed on
(the vector–Jacobian product) and how it is typeset.  There is nothing else to know of an op:
passes and printing read this table, and a backend owns its own ``op -> spelling`` dict that a
test holds against it.

Elementwise ops take operands of one shape or literals; ``broadcast`` is explicit.  Axes count
from the end, so that ``run`` may be given any leading batch and time dimensions.  Derivative
rules are written on proxies (:mod:`unrolled.proxy`), so they read as formulas; where a function
has no derivative at a point, they give what torch gives.

The rules follow from calculus; the arrangement, a rule a line, is autograd's
(Maclaurin et al. 2015, ``numpy_vjps.py``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from unrolled.ir import Equation, Shape, concrete

Cost = Literal["view", "cheap", "costly", "product", "total"]
"""What an op costs a step: nothing, one flop, a function's evaluation, a product, a sum over all
steps.  The residual pass stores what is costly and recomputes the rest."""

ShapeRule = Callable[..., Shape]
Run = Callable[..., Tensor]
Vjp = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class Op:
    """A row of the table.

    ``shape(*shapes, **attributes)`` raises ``ValueError`` with a sentence where the operands
    don't fit.  ``run(equation, *tensors)`` is torch's own computation.  ``vjp(equation, d, y,
    *args)`` gives one cotangent per operand, ``None`` where there is none; the rule itself is
    ``None`` for ops that pass no derivative on.  ``latex`` is a precedence (0 sum, 1 product,
    2 prefix, 3 atom) with a template.
    """

    name: str
    arity: int | None
    cost: Cost
    shape: ShapeRule
    run: Run
    vjp: Vjp | None
    latex: tuple[int, str]
    elementwise: bool = False
    boolean: bool = False


TABLE: dict[str, Op] = {}


def _row(op: Op) -> None:
    TABLE[op.name] = op


# --- elementwise -----------------------------------------------------------------------------


def _same(*shapes: Shape | None, **_: Any) -> Shape:
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
) -> None:
    rule = None if vjp is None else (lambda equation, d, y, *args: vjp(d, y, *args))  # type: ignore[misc]
    row = Op(name, arity, cost, _same, lambda equation, *t: run(*t), rule, latex, True, boolean)
    _row(row)


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

_elementwise(
    "maximum",
    torch.maximum,
    lambda d, y, a, b: (_winner(d, a, b), _winner(d, b, a)),
    (3, r"\max({0}, {1})"),
    arity=2,
)
_elementwise(
    "minimum",
    torch.minimum,
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
    _elementwise(_name, _run, None, (0, "{0} " + _sign + " {1}"), arity=2, boolean=True)
_elementwise("logical_and", torch.logical_and, None, (0, r"{0} \land {1}"), arity=2, boolean=True)
_elementwise("logical_or", torch.logical_or, None, (0, r"{0} \lor {1}"), arity=2, boolean=True)
_elementwise("logical_not", torch.logical_not, None, (2, r"\lnot {0}"), boolean=True)


def _where(equation: Equation, condition: Tensor, a: Any, b: Any) -> Tensor:
    return torch.where(condition, a, b)


_row(
    Op(
        "where", 3, "cheap", _same, _where,
        lambda equation, d, y, c, a, b: (None, torch.where(c, d, 0.0), torch.where(c, 0.0, d)),
        (3, r"\begin{{cases}} {1} & {0} \\ {2} & \text{{else}} \end{{cases}}"), True,
    )
)  # fmt: skip


def _pow_vjp(equation: Equation, d: Any, y: Any, x: Any) -> tuple[Any, ...]:
    p = float(equation["exponent"])
    return (d * (p * x ** (p - 1)),) if p else (None,)


_row(
    Op(
        "pow", 1, "costly", lambda x, exponent: x,
        lambda equation, x: torch.pow(x, equation["exponent"]), _pow_vjp, (3, "{0}^{{{exponent}}}"), True,
    )
)  # fmt: skip

_row(Op("detach", 1, "view", lambda x: x, lambda equation, x: x.detach(), None, (3, "{0}"), True))


# --- reductions over feature axes; the axis stays, with length 1 ---------------------------------


def _reduced(x: Shape, axis: int) -> Shape:
    return (*x[: len(x) + axis], 1, *x[len(x) + axis + 1 :])


_row(
    Op(
        "sum", 1, "costly", _reduced,
        lambda equation, x: x.sum(equation["axis"], keepdim=True),
        lambda equation, d, y, x: (d.emit("broadcast", shape=x.shape),),
        (2, r"\textstyle\sum {0}"),
    )
)  # fmt: skip
_row(
    Op(
        "mean", 1, "costly", _reduced,
        lambda equation, x: x.mean(equation["axis"], keepdim=True),
        lambda equation, d, y, x: (
            (d / float(x.shape[equation["axis"]])).emit("broadcast", shape=x.shape),
        ),
        (3, r"\operatorname{{mean}}({0})"),
    )
)  # fmt: skip
_row(
    Op(
        "amax", 1, "costly", _reduced,
        lambda equation, x: x.amax(equation["axis"], keepdim=True),
        lambda equation, d, y, x: (_share(equation, d, y, x),),
        (3, r"\max({0})"),
    )
)  # fmt: skip


def _share(equation: Equation, d: Any, y: Any, x: Any) -> Any:
    """The cotangent spread evenly over the elements that are the largest."""
    largest = torch.where(x == y.emit("broadcast", shape=x.shape), 1.0, 0.0)
    count = largest.emit("sum", axis=equation["axis"])
    return (d / count).emit("broadcast", shape=x.shape) * largest


# --- structure --------------------------------------------------------------------------------


def _lead(x: Tensor, rank: int) -> tuple[int, ...]:
    return tuple(x.shape[: x.ndim - rank])


def _rank(equation: Equation) -> int:
    return len(equation.inputs[0].shape)


def _run_broadcast(equation: Equation, x: Tensor) -> Tensor:
    rank, target = _rank(equation), concrete(equation["shape"])
    lead = _lead(x, rank)
    padded = (*lead, *(1,) * (len(target) - rank), *x.shape[x.ndim - rank :])
    return x.reshape(padded).expand(*lead, *target)


def _broadcast_vjp(equation: Equation, d: Any, y: Any, x: Any) -> tuple[Any, ...]:
    source, target = x.shape, equation["shape"]
    padded = (1,) * (len(target) - len(source)) + tuple(source)
    for axis in range(len(target)):
        if padded[axis] == 1 and target[axis] != 1:
            d = d.emit("sum", axis=axis - len(target))
    return (d.emit("reshape", shape=source),)


_row(Op("broadcast", 1, "view", lambda x, shape: shape, _run_broadcast, _broadcast_vjp, (3, "{0}")))
_row(
    Op(
        "reshape", 1, "view", lambda x, shape: shape,
        lambda equation, x: x.reshape(*_lead(x, _rank(equation)), *concrete(equation["shape"])),
        lambda equation, d, y, x: (d.emit("reshape", shape=x.shape),), (3, "{0}"),
    )
)  # fmt: skip
_row(
    Op(
        "transpose", 1, "view", lambda x: (*x[:-2], x[-1], x[-2]),
        lambda equation, x: x.transpose(-1, -2),
        lambda equation, d, y, x: (d.emit("transpose"),), (3, r"{0}^\top"),
    )
)  # fmt: skip


def _replace_axis(x: Shape, axis: int, length: int) -> Shape:
    return (*x[: len(x) + axis], length, *x[len(x) + axis + 1 :])


def _slice_shape(x: Shape, axis: int, start: int, stop: int, step: int) -> Shape:
    length = stop - start if step == 1 else len(range(start, stop, step))
    return _replace_axis(x, axis, length)


def _index(equation: Equation, x: Tensor) -> tuple[Any, ...]:
    cut = slice(int(equation["start"]), int(equation["stop"]), int(equation["step"]))
    return (..., cut, *(slice(None),) * (-1 - equation["axis"]))


def _run_place(equation: Equation, x: Tensor) -> Tensor:
    axis, size = equation["axis"], int(equation["size"])
    shape = list(x.shape)
    shape[axis] = size
    zeros = x.new_zeros(shape)
    if equation["step"] != 1:
        chosen = torch.arange(
            equation["start"], equation["stop"], equation["step"], device=x.device
        )
        return zeros.index_copy(zeros.ndim + axis, chosen, x)
    return zeros.slice_scatter(x, axis, int(equation["start"]), int(equation["stop"]))


_row(
    Op(
        "slice", 1, "view", _slice_shape,
        lambda equation, x: x[_index(equation, x)],
        lambda equation, d, y, x: (
            d.emit("place", axis=equation["axis"], start=equation["start"], stop=equation["stop"],
                   step=equation["step"], size=x.shape[equation["axis"]]),
        ),
        (3, r"{0}_{{{start}:{stop}}}"),
    )
)  # fmt: skip
_row(
    Op(
        "place", 1, "cheap", lambda x, axis, start, stop, step, size: _replace_axis(x, axis, size),
        _run_place,
        lambda equation, d, y, x: (
            d.emit("slice", axis=equation["axis"], start=equation["start"], stop=equation["stop"],
                   step=equation["step"]),
        ),
        (3, r"\operatorname{{place}}({0})"),
    )
)  # fmt: skip


def _cat_shape(*shapes: Shape, axis: int) -> Shape:
    rest = {(*s[: len(s) + axis], *s[len(s) + axis + 1 :]) for s in shapes}
    if len(rest) != 1:
        raise ValueError("the parts differ in an axis other than the joined one")
    total = shapes[0][axis]
    for s in shapes[1:]:
        total = total + s[axis]
    return _replace_axis(shapes[0], axis, total)


def _run_cat(equation: Equation, *parts: Tensor) -> Tensor:
    lead = torch.broadcast_shapes(*(_lead(p, _rank(equation)) for p in parts))
    rank = _rank(equation)
    whole = [p.expand(*lead, *p.shape[p.ndim - rank :]) for p in parts]
    return torch.cat(whole, equation["axis"])


def _cat_vjp(equation: Equation, d: Any, y: Any, *parts: Any) -> tuple[Any, ...]:
    axis, start = equation["axis"], 0
    cotangents: list[Any] = []
    for part in parts:
        stop = start + part.shape[axis]
        cotangents.append(d.emit("slice", axis=axis, start=start, stop=stop, step=1))
        start = stop
    return tuple(cotangents)


_row(Op("cat", None, "cheap", _cat_shape, _run_cat, _cat_vjp, (3, "[{all}]")))
_row(
    Op(
        "take", 1, "cheap", lambda x, axis, indices: _replace_axis(x, axis, len(indices)),
        lambda equation, x: x.index_select(
            x.ndim + equation["axis"], torch.tensor(equation["indices"], device=x.device)),
        lambda equation, d, y, x: (
            d.emit("put", axis=equation["axis"], indices=equation["indices"],
                   size=x.shape[equation["axis"]]),
        ),
        (3, "{0}_{{{indices}}}"),
    )
)  # fmt: skip
_row(
    Op(
        "put", 1, "cheap", lambda x, axis, indices, size: _replace_axis(x, axis, size),
        lambda equation, x: x.new_zeros(
            [int(equation["size"]) if a == x.ndim + equation["axis"] else n for a, n in enumerate(x.shape)]
        ).index_add(x.ndim + equation["axis"], torch.tensor(equation["indices"], device=x.device), x),
        lambda equation, d, y, x: (
            d.emit("take", axis=equation["axis"], indices=equation["indices"]),
        ),
        (3, r"\operatorname{{put}}({0})"),
    )
)  # fmt: skip


# --- products ---------------------------------------------------------------------------------


def _matmul_shape(w: Shape, v: Shape) -> Shape:
    if len(w) != 2 or len(v) not in (1, 2) or w[1] != v[0]:
        raise ValueError("the matrix's columns are not as many as the operand's rows")
    return (w[0], *v[1:])


def _run_matmul(equation: Equation, w: Tensor, v: Tensor) -> Tensor:
    if len(equation.inputs[1].shape) == 2:
        return torch.matmul(w, v)
    return torch.nn.functional.linear(v, w)


def _matmul_vjp(equation: Equation, d: Any, y: Any, w: Any, v: Any) -> tuple[Any, ...]:
    d_v = w.emit("transpose").emit("matmul", d)
    if len(v.shape) == 2:
        return d.emit("matmul", v.emit("transpose")), d_v
    if d.per_step:
        return d.emit("total_outer", v), d_v
    rows = d.emit("reshape", shape=(*d.shape, 1)).emit("broadcast", shape=w.shape)
    columns = v.emit("broadcast", shape=w.shape)
    return rows * columns, d_v


_row(Op("matmul", 2, "product", _matmul_shape, _run_matmul, _matmul_vjp, (1, r"{0} {1}")))


# --- sums over all time steps and examples: what a parameter's cotangent is made of --------------

_row(
    Op(
        "total", 1, "total", lambda x: x,
        lambda equation, x: x.sum(tuple(range(x.ndim - _rank(equation)))) if x.ndim > _rank(equation) else x,
        None, (2, r"\textstyle\sum_{{t,b}} {0}"),
    )
)  # fmt: skip
_row(
    Op(
        "total_outer", 2, "total", lambda a, b: (a[0], b[0]),
        lambda equation, a, b: a.reshape(-1, a.shape[-1]).t() @ b.reshape(-1, b.shape[-1]),
        None, (2, r"\textstyle\sum_{{t,b}} {0} {1}^\top"),
    )
)  # fmt: skip
