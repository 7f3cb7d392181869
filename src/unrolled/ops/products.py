"""The matrix product, and the sums over all steps that a parameter's cotangent is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled.ir import Equation, Shape
from unrolled.ops.table import Op, row


def _rank(equation: Equation) -> int:
    return len(equation.inputs[0].shape)


def _matmul_shape(w: Shape | None, v: Shape | None) -> Shape:
    if w is None or v is None:
        raise ValueError("a number has no product with a matrix")
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


row(Op("matmul", 2, "product", _matmul_shape, _run_matmul, _matmul_vjp, (1, r"{0} {1}")))


# --- sums over all time steps and examples: what a parameter's cotangent is made of --------------


def _run_total(equation: Equation, x: Tensor) -> Tensor:
    lead = tuple(range(x.ndim - _rank(equation)))
    return x.sum(lead) if lead else x


def _outer_shape(a: Shape | None, b: Shape | None) -> Shape:
    if a is None or b is None or len(a) != 1 or len(b) != 1:
        raise ValueError("an outer product takes two vectors")
    return (a[0], b[0])


row(
    Op(
        "total", 1, "total", lambda x: x,
        _run_total,
        None, (2, r"\textstyle\sum_{{t,b}} {0}"),
    )
)  # fmt: skip
row(
    Op(
        "total_outer", 2, "total", _outer_shape,
        lambda equation, a, b: a.reshape(-1, a.shape[-1]).t() @ b.reshape(-1, b.shape[-1]),
        None, (2, r"\textstyle\sum_{{t,b}} {0} {1}^\top"),
    )
)  # fmt: skip
