"""The elementary functions of generated C, over all float32 and all exponents of float64.

Errors are in ulp (Goldberg 1991; Muller et al. 2018, "Handbook of Floating-Point Arithmetic", 2.3):
the distance from the exact value over the gap between floating-point numbers there, which below
the normal range is that of the smallest normal numbers.  4 at most is what the backend promises.
Float64 functions of torch serve as exact for float32, mpmath's for float64.
"""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from unrolled.backends.cpu.build import load
from unrolled.backends.cpu.products import PRECISION
from unrolled.backends.cpu.spelling import SPELLING, spell
from unrolled.ir import Equation, Var
from unrolled.ops import TABLE

FUNCTIONS = (
    "exp", "expm1", "log", "log1p", "sqrt", "rsqrt", "sin", "cos", "erf", "tanh", "sigmoid",
)  # fmt: skip
MOST_ULP = 4.0
STEP = 1021
"""A prime: the patterns swept have all exponents, and all low bits."""
CHUNK = 1 << 21

BITS = {torch.float32: torch.int32, torch.float64: torch.int64}
LEAST_EXPONENT = {torch.float32: -126, torch.float64: -1022}
FRACTION = {torch.float32: 23, torch.float64: 52}
BOTH = pytest.mark.parametrize("dtype", list(PRECISION), ids=str)

SPECIAL = [
    0.0, -0.0, float("inf"), float("-inf"), float("nan"), 5e-324, -5e-324, 1e-310, -1e-310, 1e-45,
    -1e-45, 1e-40, -1e-40, 2.0**-126, -(2.0**-126), 2.0**-1022, 3.4028234663852886e38,
    1.7976931348623157e308, -1.7976931348623157e308, 1.0, -1.0, 0.5, -0.5, 2.0, 88.722, 88.723,
    88.73, -87.33, -87.34, -103.97, -103.98, -104.0, 709.78, 709.79, -708.39, -708.40, -745.13,
    -745.14, -746.0, 9.0, 10.0, 19.0, 20.0, 1e4, -1e4,
]  # fmt: skip
"""Zeros, ends of the number range, and where the functions saturate, overflow or underflow."""

Function = Callable[[Tensor], Tensor]


class Library:
    """One C function over arrays for each op of one operand, as the backend spells it."""

    def __init__(self, dtype: torch.dtype) -> None:
        x, y = Var("x", (1,)), Var("y", (1,))
        loops = ['#include "functions.h"']
        for op in SPELLING:
            if TABLE[op].arity == 1 and TABLE[op].takes == "numbers":
                equation = Equation(y, op, (x,), (("exponent", 1.7),) if op == "pow" else ())
                loops.append(_loop(op, spell(equation, ["x[i]"])))
        self._library = load("\n".join(loops), {PRECISION[dtype]: "1"})

    def __getitem__(self, op: str) -> Function:
        def run(x: Tensor) -> Tensor:
            y = torch.empty_like(x)
            pointers = (ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(y.data_ptr()))
            getattr(self._library, f"run_{op}")(ctypes.c_long(x.numel()), *pointers)
            return y

        return run


def _loop(op: str, expression: str) -> str:
    return (
        f"void run_{op}(long n, const real *x, real *y) {{\n"
        f'    _Pragma("omp simd")\n    for (long i = 0; i < n; i++) y[i] = {expression};\n}}'
    )


_libraries: dict[torch.dtype, Library] = {}


def library(dtype: torch.dtype) -> Library:
    if dtype not in _libraries:
        _libraries[dtype] = Library(dtype)
    return _libraries[dtype]


def exact(op: str) -> Callable[..., Tensor]:
    return lambda x: TABLE[op].run(Equation(Var("y", (1,)), op, (Var("x", (1,)),)), x)


def gap(value: Tensor, dtype: torch.dtype) -> Tensor:
    """The distance in ``dtype`` of neighbouring numbers at ``value`` (float64, finite)."""
    exponent = torch.frexp(value).exponent - 1
    lifted = exponent.where(value != 0, LEAST_EXPONENT[dtype]).clamp(min=LEAST_EXPONENT[dtype])
    return torch.ldexp(torch.ones_like(value), lifted - FRACTION[dtype])


def every(step: int) -> Iterator[Tensor]:
    """Every ``step``-th bit pattern of float32."""
    for start in range(0, 1 << 32, CHUNK * step):
        bits = torch.arange(start, min(start + CHUNK * step, 1 << 32), step)
        yield (
            torch.where(bits < 1 << 31, bits, bits - (1 << 32)).to(torch.int32).view(torch.float32)
        )


@pytest.mark.parametrize("op", FUNCTIONS)
def test_float32_functions_are_near_the_exact_value_everywhere(op: str) -> None:
    run = library(torch.float32)[op]
    for x in (*every(STEP), torch.tensor(SPECIAL).float()):
        found, expected = run(x), exact(op)(x.double())
        finite = expected.float().isfinite()
        assert torch.equal(found.isnan(), expected.isnan())
        assert torch.equal(found[~finite].nan_to_num(), expected[~finite].float().nan_to_num())
        errors = (found.double() - expected).abs() / gap(expected.nan_to_num(0, 0, 0), x.dtype)
        worst = int(errors.where(finite, 0.0).argmax())
        assert not finite[worst] or errors[worst] <= MOST_ULP, (
            f"{op}({float(x[worst])!r}): {float(errors[worst]):.2f} ulp"
        )


def doubles() -> Tensor:
    """Numbers of all exponents of float64, more where functions turn, and multiples of ln(2)/2."""
    source = random.Random(0)
    points = [*SPECIAL]
    for exponent in range(-1074, 1024, 3):
        points += [sign * source.uniform(1, 2) * 2.0**exponent for sign in (1, -1)]
    for width in (1e-3, 1.0, 5.0, 25.0, 800.0):
        points += [source.uniform(-width, width) for _ in range(400)]
    points += [
        k * 0.34657359027997264 * (1 + e) for k in range(-60, 61) for e in (-2e-16, 0, 2e-16)
    ]
    return torch.tensor(points, dtype=torch.float64)


@pytest.mark.parametrize("op", FUNCTIONS)
def test_float64_functions_are_near_the_exact_value(op: str) -> None:
    mpmath = pytest.importorskip("mpmath", reason="mpmath gives the exact values")
    x = doubles()
    found, by_torch = library(torch.float64)[op](x), exact(op)(x)
    usual = x.isfinite() & by_torch.isfinite()
    assert torch.equal(found[~usual].isnan(), by_torch[~usual].isnan())
    assert torch.equal(found[~usual].nan_to_num(), by_torch[~usual].nan_to_num())
    assert usual.sum() > 1000
    with mpmath.workprec(120):
        for at, y in zip(x[usual].tolist(), found[usual].tolist(), strict=True):
            expected = _exact_double(mpmath, op, at)
            scale = float(gap(torch.tensor(float(expected), dtype=torch.float64), torch.float64))
            ulp = float(abs(mpmath.mpf(y) - expected) / scale)
            assert ulp <= MOST_ULP, f"{op}({at!r}): {ulp:.2f} ulp"


def _exact_double(mp: Any, op: str, x: float) -> Any:
    match op:
        case "rsqrt":
            return 1 / mp.sqrt(mp.mpf(x))
        case "sigmoid":
            return 1 / (1 + mp.exp(-mp.mpf(x)))
        case "sin" | "cos" if abs(x) > 1:
            with mp.workprec(1300):
                return getattr(mp, op)(mp.mpf(x))
        case _:
            return getattr(mp, op)(mp.mpf(x))


def _scaled(value: float, least: int, most: int, dtype: torch.dtype) -> Tensor:
    exponents = torch.arange(least, most)
    return torch.ldexp(torch.full(exponents.shape, value, dtype=dtype), exponents)


@BOTH
def test_tanh_keeps_its_relative_accuracy_near_zero(dtype: torch.dtype) -> None:
    """Where tanh x = x - x³/3 + … is x to the last bit, it is x, and odd everywhere."""
    least = LEAST_EXPONENT[dtype]
    x = _scaled(1.5, least, -FRACTION[dtype] // 2 - 2, dtype)
    y = library(dtype)["tanh"](x)
    assert ((y - x).abs() <= 2 * torch.finfo(dtype).eps * x).all()
    every_size = _scaled(1.25, least, 60, dtype)
    run = library(dtype)["tanh"]
    assert torch.equal(run(-every_size), -run(every_size))
    zeros = run(torch.tensor([0.0, -0.0], dtype=dtype))
    assert torch.equal(zeros.signbit(), torch.tensor([False, True]))


@BOTH
def test_bounded_functions_stay_within_their_bounds(dtype: torch.dtype) -> None:
    x = torch.linspace(-50, 50, 1_000_001, dtype=dtype)
    tanh, sigmoid = library(dtype)["tanh"](x), library(dtype)["sigmoid"](x)
    assert tanh.abs().max() == 1
    assert sigmoid.max() == 1
    assert sigmoid.min() > 0


@BOTH
@pytest.mark.parametrize("op", ["neg", "abs", "sign", "relu", "detach"])
def test_exact_functions_are_exact(op: str, dtype: torch.dtype) -> None:
    x = torch.cat([torch.tensor(SPECIAL, dtype=dtype), torch.linspace(-3, 3, 1001, dtype=dtype)])
    found, expected = library(dtype)[op](x), exact(op)(x)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())


def test_every_function_of_one_operand_is_in_a_test() -> None:
    one = {op for op in SPELLING if TABLE[op].arity == 1 and TABLE[op].takes == "numbers"}
    assert one == {*FUNCTIONS, "neg", "abs", "sign", "relu", "detach", "pow"}


@BOTH
@pytest.mark.parametrize("exponent", [-2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 1.7, 2.0, 3.0, 4.0])
def test_powers(exponent: float, dtype: torch.dtype) -> None:
    y = Equation(Var("y", (1,)), "pow", (Var("x", (1,)),), (("exponent", exponent),))
    source = f'#include "functions.h"\n{_loop("pow", spell(y, ["x[i]"]))}'
    run = load(source, {PRECISION[dtype]: "1"}).run_pow
    x = torch.tensor([s for s in SPECIAL if not 1e4 <= abs(s) < float("inf")], dtype=dtype)
    x = torch.cat([x, torch.linspace(-3, 3, 1001, dtype=dtype)])
    found = torch.empty_like(x)
    run(ctypes.c_long(x.numel()), ctypes.c_void_p(x.data_ptr()), ctypes.c_void_p(found.data_ptr()))
    expected = torch.pow(x, exponent)
    assert torch.equal(found.isnan(), expected.isnan())
    infinite = expected.isinf()
    assert torch.equal(found.isinf(), infinite)
    assert torch.equal(found[infinite], expected[infinite])
    finite = expected.isfinite()
    off = (found - expected)[finite].double().abs() / gap(expected[finite].double(), dtype)
    assert off.max() <= MOST_ULP


@BOTH
@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_the_larger_and_the_smaller_of_two(op: str, dtype: torch.dtype) -> None:
    """Tried on all pairs of the special numbers: NaN wins on either side."""
    names = (Var("a", (1,)), Var("b", (1,)))
    expression = spell(Equation(Var("y", (1,)), op, names), ["a[i]", "b[i]"])
    source = (
        '#include "functions.h"\nvoid run(long n, const real *a, const real *b, real *y) {\n'
        f"    for (long i = 0; i < n; i++) y[i] = {expression};\n}}"
    )
    values = torch.tensor(SPECIAL, dtype=dtype)
    a, b = (v.reshape(-1).clone() for v in torch.meshgrid(values, values, indexing="ij"))
    found = torch.empty_like(a)
    pointers = [ctypes.c_void_p(t.data_ptr()) for t in (a, b, found)]
    load(source, {PRECISION[dtype]: "1"}).run(ctypes.c_long(a.numel()), *pointers)
    expected = getattr(torch, op)(a, b)
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.nan_to_num(), expected.nan_to_num())
