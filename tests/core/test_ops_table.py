"""The op table: every column of every row, and every derivative rule against torch's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled.backends.cpu.spelling import SPELLING
from unrolled.builder import Builder
from unrolled.errors import CellError
from unrolled.ir import Equation, Graph, Output, Var
from unrolled.ops import TABLE, Op
from unrolled.passes.adjoint import adjoint
from unrolled.verify import verify

EPS = torch.finfo(torch.float64).eps
LEAD = (2, 3)  # time and batch

COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
LOGICAL = {"logical_and", "logical_or", "logical_not"}
STRUCTURE = {"broadcast", "reshape", "transpose", "slice", "cat", "take"}
NO_DERIVATIVE = {*COMPARISONS, *LOGICAL, "sign", "detach", "total", "total_outer"}


@dataclass(frozen=True)
class Sample:
    """An op with operands: a shape that varies by step, ("W", shape) that doesn't, or a number."""

    op: str
    operands: tuple[Any, ...]
    attributes: tuple[tuple[str, Any], ...] = ()
    low: float = -2.0
    high: float = 2.0


def sample(op: str, *operands: Any, low: float = -2.0, high: float = 2.0, **attributes: Any) -> Any:
    marks = ",".join(map(str, operands)) + "".join(f",{k}={v}" for k, v in attributes.items())
    made = Sample(op, operands, tuple(attributes.items()), low, high)
    return pytest.param(made, id=f"{op}({marks})")


V, M, S = (5,), (4, 5), ()
FIXED_V, FIXED_M = ("W", V), ("W", M)
POSITIVE = {"low": 0.3, "high": 3.0}

SAMPLES = [
    *(sample(op, V) for op in ("neg", "abs", "sign", "relu", "exp", "expm1", "sin", "cos", "erf")),
    *(sample(op, V) for op in ("tanh", "sigmoid", "detach")),
    *(sample(op, V, **POSITIVE) for op in ("log", "log1p", "sqrt", "rsqrt")),
    *(
        sample(op, *operands, **(POSITIVE if op == "div" else {}))
        for op in ("add", "sub", "mul", "div", "maximum", "minimum", *sorted(COMPARISONS))
        for operands in ((V, V), (V, 0.5), (0.5, V), (V, FIXED_V), (FIXED_M, M), (S, S))
    ),
    *(sample("pow", V, exponent=p, **POSITIVE) for p in (2.0, 3.0, -1.0, 0.5, -1.5, 1.0, 0.0)),
    sample("pow", V, exponent=3.0),
    *(sample("where", ("condition", V), a, b) for a, b in ((V, V), (V, 0.0), (1.0, V), (1.0, 0.0))),
    sample("where", ("condition", M), FIXED_M, M),
    *(sample(op, ("condition", V), ("condition", V)) for op in ("logical_and", "logical_or")),
    sample("logical_not", ("condition", V)),
    *(sample(op, V, axis=-1) for op in ("sum", "mean", "amax")),
    *(sample(op, M, axis=-2) for op in ("sum", "mean", "amax")),
    *(sample(op, FIXED_M, axis=-1) for op in ("sum", "mean", "amax")),
    sample("broadcast", S, shape=(3,)),
    sample("broadcast", V, shape=(4, 5)),
    sample("broadcast", (4, 1), shape=(2, 4, 5)),
    sample("broadcast", (1,), shape=(1,)),
    sample("broadcast", ("W", (1, 5)), shape=(4, 5)),
    sample("broadcast", ("condition", (1,)), shape=(4,)),
    sample("reshape", M, shape=(20,)),
    sample("reshape", (1,), shape=()),
    sample("reshape", S, shape=(1, 1)),
    sample("reshape", FIXED_M, shape=(2, 2, 5)),
    sample("transpose", M),
    sample("transpose", FIXED_M),
    sample("slice", V, axis=-1, start=1, stop=4, step=1),
    sample("slice", V, axis=-1, start=0, stop=5, step=2),
    sample("slice", M, axis=-2, start=1, stop=2, step=1),
    sample("slice", FIXED_M, axis=-2, start=0, stop=4, step=3),
    sample("slice", ("condition", V), axis=-1, start=1, stop=4, step=1),
    sample("place", (3,), axis=-1, start=1, stop=4, step=1, size=5),
    sample("place", (3,), axis=-1, start=0, stop=5, step=2, size=5),
    sample("place", ("W", (2, 5)), axis=-2, start=1, stop=3, step=1, size=4),
    sample("cat", V, V, axis=-1),
    sample("cat", V, FIXED_V, (2,), axis=-1),
    sample("cat", M, (1, 5), axis=-2),
    sample("cat", FIXED_M, FIXED_M, axis=-1),
    sample("cat", ("condition", V), ("condition", (2,)), axis=-1),
    sample("take", V, axis=-1, indices=(4, 0, 0)),
    sample("take", M, axis=-2, indices=(2, 2)),
    sample("put", (3,), axis=-1, indices=(4, 0, 0), size=5),
    sample("put", ("W", (2, 5)), axis=-2, indices=(3, 0), size=4),
    sample("matmul", FIXED_M, V),
    sample("matmul", FIXED_M, FIXED_V),
    sample("matmul", FIXED_M, ("W", (5, 3))),
    sample("total", V),
    sample("total", M),
    sample("total", S),
    sample("total", FIXED_V),
    sample("total_outer", V, (4,)),
]  # fmt: skip


@dataclass(frozen=True)
class Instance:
    """A sample as a graph of one equation, with tensors for its operands."""

    graph: Graph
    tensors: dict[str, Tensor]

    @property
    def equation(self) -> Equation:
        return self.graph.equations[0]


def instance(s: Sample) -> Instance:
    source = torch.Generator().manual_seed(0)
    variables: list[Var] = []
    tensors: dict[str, Tensor] = {}
    args: list[Any] = []
    for k, operand in enumerate(s.operands):
        if isinstance(operand, float):
            args.append(operand)
            continue
        kind, shape = operand if operand and isinstance(operand[0], str) else ("input", operand)
        role: Any = "parameter" if kind == "W" else "residual" if kind == "condition" else "input"
        dtype: Any = "bool" if kind == "condition" else "real"
        var = Var(f"a{k}", shape, role, role != "parameter", dtype)
        lead = LEAD if var.per_step else ()
        drawn = torch.rand(*lead, *shape, generator=source, dtype=torch.float64)
        tensors[var.name] = drawn > 0.5 if dtype == "bool" else s.low + (s.high - s.low) * drawn
        variables.append(var)
        args.append(var)
    builder = Builder(v.name for v in variables)
    out = builder.emit(s.op, *args, name="out", **dict(s.attributes))
    graph = Graph(
        "one",
        tuple(v for v in variables if v.role == "input"),
        (),
        tuple(v for v in variables if v.role == "parameter"),
        (),
        tuple(v for v in variables if v.role == "residual"),
        tuple(builder.equations),
        (),
        (Output("out", out),),
    )
    return Instance(verify(graph), tensors)


def evaluate(graph: Graph, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    values = dict(tensors)
    for constant in graph.constants:
        data = torch.tensor(constant.data, dtype=torch.float64)
        values[constant.var.name] = data.reshape(constant.var.shape)
    for e in graph.equations:
        args = [values[a.name] if isinstance(a, Var) else torch.tensor(a).double() for a in e.args]
        if e.op != "where":
            args = [
                a if isinstance(b, Var) else b for a, b in zip(args, e.args, strict=True)
            ]  # a literal is handed over as it is
        values[e.out.name] = TABLE[e.op].run(e, *args)
    return values


def expected_shape(made: Instance) -> tuple[int, ...]:
    out = made.equation.out
    return (*(LEAD if out.per_step else ()), *out.shape)


@pytest.mark.parametrize("s", SAMPLES)
def test_the_result_has_the_shape_and_type_that_the_row_says(s: Sample) -> None:
    made = instance(s)
    value = evaluate(made.graph, made.tensors)["out"]
    assert tuple(value.shape) == expected_shape(made)
    assert value.dtype is (torch.bool if made.equation.out.dtype == "bool" else torch.float64)


@pytest.mark.parametrize("s", [p for p in SAMPLES if p.values[0].op not in NO_DERIVATIVE])
def test_the_derivative_is_torchs(s: Sample) -> None:
    made = instance(s)
    if made.equation.out.dtype == "bool":
        assert not adjoint(made.graph, made.tensors).equations
        return
    leaves = {
        n: t.clone().requires_grad_() for n, t in made.tensors.items() if t.dtype is not torch.bool
    }
    value = evaluate(made.graph, made.tensors | leaves)["out"]
    source = torch.Generator().manual_seed(1)
    d = torch.rand(value.shape, generator=source, dtype=torch.float64) + 0.5
    # The cotangent of what does not vary over time has no time either.
    back = adjoint(made.graph, leaves)
    [d_out] = back.inputs
    verify(back)
    found = evaluate(back, made.tensors | {"out": value.detach(), d_out.name: d})
    grads: list[Tensor | None] = [None] * len(leaves)
    if value.requires_grad:
        grads = list(torch.autograd.grad(value, list(leaves.values()), d, allow_unused=True))
    wanted = dict(zip(leaves, grads, strict=True))
    # Sums of at most 30 terms below 8, each of 4 operations at most, and twice: torch's too.
    bound = 2 * 30 * 4 * EPS * 8
    for output in back.outputs:
        want = wanted[output.name]
        got = found[output.var.name]
        if want is None:
            assert not got.any()
        else:
            # A cotangent that is zero throughout does not vary by step.
            assert got.expand(want.shape).shape == want.shape
            torch.testing.assert_close(got.expand(want.shape), want, rtol=bound, atol=bound)


@pytest.mark.parametrize("op", sorted({p.values[0].op for p in SAMPLES} & NO_DERIVATIVE))
def test_what_has_no_rule_passes_no_derivative_on(op: str) -> None:
    assert TABLE[op].vjp is None


def test_every_row_has_a_sample() -> None:
    assert {p.values[0].op for p in SAMPLES} == set(TABLE)
    assert {name for name, row in TABLE.items() if row.vjp is None} == NO_DERIVATIVE


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE)
def test_every_row_has_its_columns(row: Op) -> None:
    assert TABLE[row.name] is row
    assert row.arity is None or row.arity in (1, 2, 3)
    assert row.cost in ("view", "cheap", "costly", "product", "total")
    assert callable(row.shape)
    assert callable(row.run)
    assert row.vjp is None or callable(row.vjp)
    precedence, template = row.latex
    assert precedence in (0, 1, 2, 3)
    assert template
    assert row.boolean == (row.name in COMPARISONS | LOGICAL)
    assert (row.takes == "either") == (row.name in STRUCTURE)
    assert (row.takes == "conditions") == (row.name in LOGICAL)
    assert (row.cost == "total") == row.name.startswith("total")
    assert not (row.elementwise and row.cost in ("product", "total"))


def test_an_elementwise_row_takes_and_gives_one_shape() -> None:
    for row in TABLE.values():
        attributes = {"exponent": 2.0} if row.name == "pow" else {}
        if row.elementwise:
            assert row.arity is not None
            assert row.shape(*[(3, 2)] * row.arity, **attributes) == (3, 2)
            if row.arity > 1:
                assert row.shape(None, *[(3, 2)] * (row.arity - 1), **attributes) == (3, 2)
                with pytest.raises(ValueError, match="the operands' shapes differ"):
                    row.shape((2, 3), *[(3, 2)] * (row.arity - 1), **attributes)


REFUSED: list[Any] = [
    sample("pow", V, exponent="2"),
    sample("sum", V, axis=0),
    sample("mean", V, axis=-2),
    sample("amax", V, axis=-1.0),
    sample("broadcast", V, shape=(4,)),
    sample("broadcast", M, shape=(5,)),
    sample("broadcast", (1,), shape=(-1,)),
    sample("reshape", V, shape=(2, 3)),
    sample("reshape", V, shape=(-5, -1)),
    sample("transpose", V),
    sample("slice", V, axis=-1, start=3, stop=2, step=1),
    sample("slice", V, axis=-1, start=0, stop=6, step=1),
    sample("slice", V, axis=-1, start=-2, stop=2, step=1),
    sample("slice", V, axis=-1, start=0, stop=2, step=0),
    sample("slice", V, axis=1, start=0, stop=2, step=1),
    sample("place", V, axis=-1, start=0, stop=4, step=1, size=9),
    sample("place", V, axis=-1, start=5, stop=10, step=1, size=9),
    sample("cat", V, M, axis=-1),
    sample("cat", M, (5, 4), axis=-1),
    sample("cat", V, 1.0, axis=-1),
    sample("cat", V, ("condition", V), axis=-1),
    sample("take", V, axis=-1, indices=(5,)),
    sample("take", V, axis=-1, indices=(-1,)),
    sample("put", V, axis=-1, indices=(0, 1), size=5),
    sample("put", V, axis=-1, indices=(0, 1, 2, 3, 9), size=5),
    sample("matmul", FIXED_M, (4,)),
    sample("matmul", V, V),
    sample("matmul", FIXED_M, 2.0),
    sample("total_outer", M, V),
    sample("add", V, (4,)),
    sample("add", V, ("condition", V)),
    sample("tanh", ("condition", V)),
    sample("where", V, V, V),
    sample("logical_and", V, V),
    sample("gt", ("condition", V), 0.0),
]


@pytest.mark.parametrize("s", REFUSED)
def test_operands_and_attributes_that_do_not_fit_are_refused(s: Sample) -> None:
    with pytest.raises(CellError) as caught:
        instance(s)
    assert caught.value.problem.startswith(f"{s.op} got ")


def test_the_cpu_backend_spells_every_elementwise_op() -> None:
    assert set(SPELLING) == {name for name, row in TABLE.items() if row.elementwise}
