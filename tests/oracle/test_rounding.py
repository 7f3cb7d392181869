"""The rule of each op for rounding errors, held against errors seen in single precision."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
import torch
from torch import Tensor

from oracle.rounding import BOOLEAN, Rounded, exact, rounded
from unrolled.builder import Builder
from unrolled.ir import Equation, Var
from unrolled.ops import TABLE

U = 2.0**-24
LEAD = (4, 2, 3)
"""Steps, losses, examples."""

POSITIVE = {"log", "log1p", "sqrt", "rsqrt", "pow", "div"}

SHAPES: dict[str, tuple[list[tuple[int, ...]], dict[str, Any]]] = {
    "pow": ([(5,)], {"exponent": -1.5}),
    "sum": ([(3, 5)], {"axis": -2}),
    "mean": ([(3, 5)], {"axis": -1}),
    "amax": ([(3, 5)], {"axis": -1}),
    "broadcast": ([(1,)], {"shape": (2, 5)}),
    "reshape": ([(6,)], {"shape": (2, 3)}),
    "transpose": ([(2, 3)], {}),
    "slice": ([(7,)], {"axis": -1, "start": 1, "stop": 6, "step": 2}),
    "place": ([(3,)], {"axis": -1, "start": 1, "stop": 4, "step": 1, "size": 7}),
    "cat": ([(3,), (5,)], {"axis": -1}),
    "take": ([(5,)], {"axis": -1, "indices": (2, 0, 2)}),
    "put": ([(4,)], {"axis": -1, "indices": (1, 1, 3, 1), "size": 5}),
    "total": ([(5,)], {}),
    "total_outer": ([(3,), (5,)], {}),
}
"""Operand shapes and attributes; an elementwise op takes vectors."""


def _equation(op: str) -> Equation:
    shapes, attributes = SHAPES.get(op, ([(5,)] * (TABLE[op].arity or 0), {}))
    conditions = {"where": 1, "logical_and": 2, "logical_or": 2, "logical_not": 1}.get(op, 0)
    operands = [
        Var(f"a{k}", shape, dtype="bool" if k < conditions else "real")
        for k, shape in enumerate(shapes)
    ]
    if op == "matmul":
        operands = [Var("w", (3, 7), per_step=False), Var("a", (7,))]
    builder = Builder(v.name for v in operands)
    builder.emit(op, *operands, **attributes)
    return builder.equations[-1]


@pytest.mark.parametrize("op", TABLE)
def test_errors_seen_are_within_the_bound(op: str) -> None:
    """In float32, on operands that are wrong already, against float64 on the right ones."""
    equation = _equation(op)
    source = torch.Generator().manual_seed(0)
    for _ in range(50):
        right: list[Tensor] = []
        wrong: list[Rounded] = []
        for v in equation.inputs:
            shape = (*(LEAD if v.per_step else ()), *map(int, v.shape))
            uniform = torch.rand(shape, generator=source, dtype=torch.float64)
            value = 0.25 + 2 * uniform if op in POSITIVE else 4 * uniform - 2
            if v.dtype == "bool":
                right.append(value > 0)
                wrong.append(exact(value > 0))
                continue
            noise = 1 + 20 * U * torch.rand(shape, generator=source, dtype=torch.float64)
            computed = (value * noise).float().double()
            right.append(value)
            wrong.append(Rounded(computed, (computed - value).abs(), computed.abs()))
        bound = rounded(equation, wrong, U)
        low = [w.value if w.value.dtype is torch.bool else w.value.float() for w in wrong]
        if op in ("total", "total_outer"):
            # The op sums all leading dimensions; the bound keeps that of the losses.
            runs = [
                [TABLE[op].run(equation, *(t[:, k] for t in ts)) for k in range(LEAD[1])]
                for ts in (low, right)
            ]
            found, expected = (torch.stack(r) for r in runs)
        else:
            found, expected = (TABLE[op].run(equation, *ts) for ts in (low, right))
        assert bound.value.shape == found.shape
        if op in BOOLEAN:
            assert torch.equal(bound.error, torch.zeros(found.shape, dtype=torch.float64))
        elif op != "sign":
            assert ((found.double() - expected).abs() <= bound.error).all()
            assert (bound.error < 1e-3).all()


def test_a_sum_is_covered_in_every_order() -> None:
    """Also where the order analysed is a lucky one, in which large terms cancel at once."""
    terms = [3e4, -3e4, 0.1, -0.7, 1.3]
    builder = Builder("abcde")
    total = Var("a", ())
    values = {"a": exact(torch.tensor(terms[0]).double())}
    for name, term in zip("bcde", terms[1:], strict=True):
        values[name] = exact(torch.tensor(term).double())
        total = builder.emit("add", total, Var(name, ()))
    for equation in builder.equations:
        args = [values[v.name] for v in equation.inputs]
        values[equation.out.name] = rounded(equation, args, U)
    right = sum(float(values[name].value) for name in "abcde")
    worst = 0.0
    for order in permutations("abcde"):
        found = torch.zeros((), dtype=torch.float32)
        for name in order:
            found = found + values[name].value.float()
        worst = max(worst, abs(float(found) - right))
    assert 1e-4 < worst <= float(values[total.name].error)
