"""The matrix product, and the sums over all steps and examples that a parameter's cotangent is made of."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled.ir import Equation, Shape
from unrolled.ops.table import Op, row


def _rank(equation: Equation) -> int:
    return len(equation.inputs[0].shape)


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


row(Op("matmul", 2, "product", _matmul_shape, _run_matmul, _matmul_vjp, (1, r"{0} {1}")))


# --- sums over all time steps and examples: what a parameter's cotangent is made of --------------

row(
    Op(
        "total", 1, "total", lambda x: x,
        lambda equation, x: x.sum(tuple(range(x.ndim - _rank(equation)))) if x.ndim > _rank(equation) else x,
        None, (2, r"\textstyle\sum_{{t,b}} {0}"),
    )
)  # fmt: skip
row(
    Op(
        "total_outer", 2, "total", lambda a, b: (a[0], b[0]),
        lambda equation, a, b: a.reshape(-1, a.shape[-1]).t() @ b.reshape(-1, b.shape[-1]),
        None, (2, r"\textstyle\sum_{{t,b}} {0} {1}^\top"),
    )
)  # fmt: skip
