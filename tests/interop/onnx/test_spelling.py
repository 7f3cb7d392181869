"""Each op as ONNX nodes, in ONNX Runtime, beside torch's computation of its row in the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import checker, helper
from torch import Tensor

from onnx_models import Session
from unrolled.builder import Builder
from unrolled.interop.onnx.spelling import SPELLING, Fixed, Scope
from unrolled.interop.onnx.writer import Writer
from unrolled.ir import Graph, Output, Var
from unrolled.ops import TABLE

LEAD = (2, 3)  # time and batch
EPS = torch.finfo(torch.float64).eps

Operand = tuple[str, tuple[int, ...]] | float
Sample = tuple[str, tuple[Operand, ...], dict[str, Any]]

V, M, S = ("each", (5,)), ("each", (4, 5)), ("each", ())
FIXED_V, FIXED_M = ("fixed", (5,)), ("fixed", (4, 5))
TRUE_V, TRUE_FIXED = ("condition", (5,)), ("fixed condition", (5,))

SAMPLES: list[Sample] = [
    *(
        (op, (V,), {})
        for op in (
            "neg", "abs", "sign", "relu", "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin",
            "cos", "erf", "tanh", "sigmoid", "detach",
        )
    ),
    *(
        (op, operands, {})
        for op in (
            "add", "sub", "mul", "div", "maximum", "minimum", "lt", "le", "gt", "ge", "eq", "ne",
        )
        for operands in ((V, V), (V, 0.5), (0.5, V), (V, FIXED_V), (FIXED_M, M), (S, S))
    ),
    *((op, (TRUE_V, TRUE_V), {}) for op in ("logical_and", "logical_or")),
    ("logical_not", (TRUE_V,), {}),
    *(("where", (TRUE_V, a, b), {}) for a, b in ((V, V), (V, 0.0), (1.0, FIXED_V), (1.0, 0.0))),
    ("where", (TRUE_FIXED, V, V), {}),
    *(("pow", (V,), {"exponent": p}) for p in (2.0, -1.5, 0.0)),
    *((op, (V,), {"axis": -1}) for op in ("sum", "mean", "amax")),
    *((op, (M,), {"axis": -2}) for op in ("sum", "mean", "amax")),
    ("broadcast", (S,), {"shape": (3,)}),
    ("broadcast", (V,), {"shape": (2, 4, 5)}),
    ("broadcast", (("each", (4, 1)),), {"shape": (4, 5)}),
    ("broadcast", (("condition", (1,)),), {"shape": (4,)}),
    ("reshape", (M,), {"shape": (20,)}),
    ("reshape", (("each", (1,)),), {"shape": ()}),
    ("transpose", (M,), {}),
    ("slice", (V,), {"axis": -1, "start": 1, "stop": 4, "step": 1}),
    ("slice", (M,), {"axis": -2, "start": 0, "stop": 4, "step": 3}),
    ("slice", (TRUE_V,), {"axis": -1, "start": 0, "stop": 5, "step": 2}),
    ("place", (("each", (3,)),), {"axis": -1, "start": 1, "stop": 4, "step": 1, "size": 5}),
    ("place", (("each", (3, 2)),), {"axis": -2, "start": 0, "stop": 5, "step": 2, "size": 6}),
    ("put", (("each", (4,)),), {"axis": -1, "indices": (4, 0, 0, 0), "size": 6}),
    ("put", (("each", (2, 3)),), {"axis": -2, "indices": (3, 0), "size": 4}),
    ("cat", (V, FIXED_V, ("each", (2,))), {"axis": -1}),
    ("cat", (("fixed", (1, 5)), M), {"axis": -2}),
    ("cat", (TRUE_V, TRUE_FIXED), {"axis": -1}),
    ("take", (V,), {"axis": -1, "indices": (4, 0, 0)}),
    ("take", (M,), {"axis": -2, "indices": (2, 2)}),
    ("matmul", (FIXED_M, V), {}),
    ("matmul", (FIXED_M, ("each", (5, 3))), {}),
]  # fmt: skip


SINGLE = {"erf"}
"""What ONNX Runtime computes in float32 alone."""


def label(sample: Sample) -> str:
    op, operands, attributes = sample
    return f"{op}({operands}, {attributes})".replace("'", "")


def written(sample: Sample, lead: int, values: list[Tensor]) -> tuple[Tensor, Tensor]:
    """The op's result in ONNX Runtime and torch's; ``values`` are its operands that aren't numbers.

    Those that vary have ``lead`` leading axes, with lengths that the model does not know.
    """
    op, operands, attributes = sample
    variables: list[Var] = []
    args: list[Any] = []
    for k, operand in enumerate(operands):
        if isinstance(operand, (int, float)):
            args.append(operand)
            continue
        kind, shape = operand
        each = not kind.startswith("fixed")
        dtype: Any = "bool" if kind.endswith("condition") else "real"
        role: Any = "input" if each else "parameter"
        variables.append(Var(f"a{k}", shape, role, each, dtype))
        args.append(variables[-1])
    builder = Builder(v.name for v in variables)
    out = builder.emit(op, *args, name="out", **attributes)
    (equation,) = builder.equations
    given = dict(zip(variables, values, strict=True))
    fixed_ones = tuple(v for v in variables if not v.per_step)
    graph = Graph("one", (), (), fixed_ones, (), (), (equation,), (), (Output("out", out),))

    writer = Writer(np.dtype(np.float32 if op in SINGLE else np.float64))
    names = {v: v.name for v in variables if v.per_step}
    writer.reserve(*names.values(), "result")
    parameters = {v.name: t for v, t in given.items() if not v.per_step}
    fixed = Fixed(graph, parameters, writer, "")
    scope = Scope(writer, fixed, lead, next(iter(names.values())), "", dict(names))
    scope.write([equation])
    writer.result(scope.names[out], "result")
    axes = ["T", "B"][2 - lead :]
    info = lambda v, name: writer.info(
        name, [*axes, *v.shape], np.bool_ if v.dtype == "bool" else None
    )
    model = helper.make_model(
        writer.graph("one", [info(v, n) for v, n in names.items()], [info(out, "result")], True),
        opset_imports=[helper.make_opsetid("", 19)],
        ir_version=9,
    )
    checker.check_model(model, full_check=True)
    found = Session(model)({n: given[v].numpy() for v, n in names.items()})["result"]
    wanted = [given[a] if isinstance(a, Var) else a for a in args]
    if op == "where" and not isinstance(wanted[1], Tensor):
        wanted[1] = torch.tensor(wanted[1]).double()
    return torch.from_numpy(found), TABLE[op].run(equation, *wanted)


def operands_of(sample: Sample, lead: int) -> list[Tensor]:
    source = torch.Generator().manual_seed(0)
    found: list[Tensor] = []
    for operand in sample[1]:
        if isinstance(operand, (int, float)):
            continue
        kind, shape = operand
        axes = () if kind.startswith("fixed") else LEAD[2 - lead :]
        drawn = torch.rand(*axes, *shape, generator=source, dtype=torch.float64)
        # Above 0, where logarithms and roots are; equal ones, for comparisons.
        values = (0.3 + 2.7 * drawn * 8).round() / 8
        if sample[0] in ("abs", "sign", "relu", "expm1", "erf", "neg"):
            values = values - 1.5
        values = values.float() if sample[0] in SINGLE else values
        found.append(drawn > 0.5 if kind.endswith("condition") else values)
    return found


@pytest.mark.parametrize("lead", [1, 2])
@pytest.mark.parametrize("sample", SAMPLES, ids=label)
def test_op(sample: Sample, lead: int) -> None:
    ours, torchs = written(sample, lead, operands_of(sample, lead))
    assert ours.shape == torchs.shape
    assert ours.dtype == torchs.dtype
    # At most 6 nodes an op, each within 2 ulp, whose errors grow by less than 4 on operands up to
    # 3; sums have up to 20 terms. The values are at most e^3.
    bound = 6 * 2 * 4 * 20 * (torch.finfo(torch.float32).eps if sample[0] in SINGLE else EPS)
    torch.testing.assert_close(ours, torchs, rtol=bound, atol=bound)


@pytest.mark.parametrize("op", ["expm1", "log1p"])
def test_no_digits_are_lost_near_0_and_at_the_ends(op: str) -> None:
    values = [0.0, 1e-300, 1e-20, -1e-20, 3e-17, 1e-9, -1e-9, 1e-3, -0.5, -1.0, 40.0, 700.0]
    values += [1e300] if op == "log1p" else [-1e300]
    values += [torch.inf, torch.nan, *([] if op == "log1p" else [-torch.inf])]
    given = torch.tensor(values, dtype=torch.float64).expand(2, len(values)).contiguous()
    sample: Sample = (op, (("each", (len(values),)),), {})
    ours, torchs = written(sample, 1, [given])
    torch.testing.assert_close(ours, torchs, rtol=8 * EPS, atol=0, equal_nan=True)


def test_the_spelling_covers_the_table() -> None:
    """All but the sums over steps and examples, which only derivatives have."""
    totals = {name for name, row in TABLE.items() if row.cost == "total"}
    assert set(SPELLING) == set(TABLE) - totals
    assert {op for op, _, _ in SAMPLES} == set(SPELLING)
