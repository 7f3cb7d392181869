"""Every function that a step can call, on the CPU backend, at infinities, NaN, zeros and kinks.

``tests/core/test_functions.py`` holds the reference backend's results to torch's there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from function_table import (
    ONE_OPERAND,
    PRODUCTS,
    REDUCTIONS,
    SHAPES,
    TWO_OPERANDS,
    Call,
    labelled,
)
from kernel_runs import Call as KernelCall
from kernel_runs import columns, results, rows, shared
from unrolled import cell, param
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.reference import ReferenceKernel
from unrolled.lower import Plan, lower

N = 6
SPECIAL = [0.0, -0.0, math.inf, -math.inf, math.nan, 1.0, -1.0, 3.0, -3.0, 1e4, -1e4, 0.5]
ELEMENTWISE = labelled(ONE_OPERAND) | labelled(TWO_OPERANDS)
OVER_AXES = labelled(REDUCTIONS) | labelled(PRODUCTS) | labelled(SHAPES)
CONVERSIONS = ("double-1", "to-3")  # to float64, where that is the step's type anyway
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def numbers() -> tuple[Tensor, Tensor]:
    """All pairs of the special numbers, [B, N] each."""
    pairs = torch.cartesian_prod(*[torch.tensor(SPECIAL, dtype=torch.float64)] * 2)
    return pairs[:, 0].reshape(-1, N).clone(), pairs[:, 1].reshape(-1, N).clone()


def with_one_odd() -> tuple[Tensor, Tensor]:
    """Rows of ordinary numbers with one infinity or NaN in ``h``, at each place."""
    source = torch.Generator().manual_seed(0)
    x = torch.rand(3 * N, N, generator=source, dtype=torch.float64) + 0.1
    h = torch.rand(3 * N, N, generator=source, dtype=torch.float64) + 0.1
    for row in range(3 * N):
        h[row, row % N] = (math.inf, -math.inf, math.nan)[row // N]
    return x, h


def plan_of(calls: dict[str, Call], dtype: torch.dtype, wrt: tuple[str, ...]) -> Plan:
    """One step that makes all the calls, each of them an output."""

    def step(x: Any, h: Any, *, W: Any = param("H", "H")) -> Any:
        return W @ h, (x,), {f"out{k}": f(x, h, W) for k, f in enumerate(calls.values())}

    graph = cell(step).graph({"D": N, "H": N}, dtype)
    return lower(graph, [f"out{k}" for k in range(len(calls))], wrt)


def call(plan: Plan, x: Tensor, h: Tensor, dtype: torch.dtype) -> KernelCall:
    lead = (1, x.shape[0])
    d = {
        o.name: torch.ones(*lead, *map(int, o.var.shape), dtype=dtype)
        for o in plan.forward.graph.outputs
    }
    W = torch.rand(N, N, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    zero = torch.zeros(x.shape[0], N, dtype=dtype)
    return KernelCall(x.to(dtype)[None], (h.to(dtype),), {"W": W.to(dtype)}, d, (zero,))


def assert_same(found: Tensor, expected: Tensor, dtype: torch.dtype, what: str) -> None:
    """The same NaN, the same infinities, and numbers that rounding explains."""
    close = 1e-3 if dtype is torch.float32 else 1e-9
    torch.testing.assert_close(
        found, expected, rtol=close, atol=close, equal_nan=True, msg=lambda m: f"{what}: {m}"
    )


CASES: dict[str, tuple[dict[str, Call], Callable[[], tuple[Tensor, Tensor]]]] = {
    "element by element": (ELEMENTWISE, numbers),
    "over axes": (OVER_AXES, with_one_odd),
}


@DTYPES
@pytest.mark.parametrize("case", CASES)
def test_values(case: str, dtype: torch.dtype) -> None:
    """All functions in one loop; each output has NaN where the reference has it, and only there."""
    table, points = CASES[case]
    calls = {label: f for label, f in table.items() if label not in CONVERSIONS}
    plan = plan_of(calls, dtype, ())
    made = call(plan, *points(), dtype)
    expected = ReferenceKernel(plan).forward(made.x, made.states, made.parameters, keep=False)
    kernel = CpuKernel(plan)
    for share, threads in ((rows, 1), (columns, 2)):
        with shared(share, threads):
            found = kernel.forward(made.x, made.states, made.parameters, keep=False)
        for k, label in enumerate(calls):
            name = f"out{k}"
            assert_same(found.outputs[name], expected.outputs[name], dtype, label)


@DTYPES
@pytest.mark.parametrize("label", [label for label in ELEMENTWISE if label not in CONVERSIONS])
def test_derivatives(label: str, dtype: torch.dtype) -> None:
    plan = plan_of({label: ELEMENTWISE[label]}, dtype, ("x",))
    made = call(plan, *numbers(), dtype)
    expected, found = results(ReferenceKernel(plan), made), results(CpuKernel(plan), made)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_same(found[name], value, dtype, f"{label}, {name}")


ACTIVATIONS = (
    "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_sigmoid",
    "mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh", "exp",
    "log", "sqrt", "rsqrt", "sin", "cos", "erf", "expm1", "log1p", "abs", "clamp", "square",
    "reciprocal",
)  # fmt: skip


@DTYPES
def test_nan_in_gives_nan_out(dtype: torch.dtype) -> None:
    """Through every activation, the larger and the smaller of two, and sums and maxima."""
    calls: dict[str, Call] = {
        label: f for label, f in ELEMENTWISE.items() if label.rsplit("-", 1)[0] in ACTIVATIONS
    }
    assert len(calls) >= len(ACTIVATIONS)
    calls["maximum"] = lambda x, h, W: torch.maximum(x, h)
    calls["maximum, other side"] = lambda x, h, W: torch.maximum(h, x)
    calls["minimum"] = lambda x, h, W: torch.minimum(x, h)
    calls["minimum, other side"] = lambda x, h, W: torch.minimum(h, x)
    whole: dict[str, Call] = {
        "amax": lambda x, h, W: h.amax(-1),
        "amin": lambda x, h, W: h.amin(-1),
        "sum": lambda x, h, W: h.sum(-1),
        "mean": lambda x, h, W: h.mean(-1),
        "softmax": lambda x, h, W: torch.softmax(h, -1),
        "layer_norm": lambda x, h, W: torch.nn.functional.layer_norm(h, (N,)),
        "matmul": lambda x, h, W: W @ h,
    }
    plan = plan_of(calls | whole, dtype, ())
    # Every place of a vector, for the loops are vectorised; the rest is 0.5.
    h = torch.full((N, N), 0.5, dtype=torch.float64)
    h.fill_diagonal_(math.nan)
    made = call(plan, torch.full_like(h, 0.25), h, dtype)
    run = CpuKernel(plan).forward(made.x, made.states, made.parameters, keep=False)
    for k, label in enumerate(calls):
        value = run.outputs[f"out{k}"][0]
        assert torch.equal(value.isnan(), h.isnan()), label
    for k, label in enumerate(whole, len(calls)):
        assert run.outputs[f"out{k}"].isnan().all(), label
