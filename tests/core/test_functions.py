"""What each function means in a step: torch's value and torch's derivatives, awkward points too."""

from __future__ import annotations

import math
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
    calls_of,
    labelled,
    names,
)
from one_step import Result, by_torch, compiled, graph_of
from unrolled import proxy
from unrolled.proxy import FUNCTIONS

EPS = torch.finfo(torch.float64).eps
N = 6

ELEMENTWISE = labelled(ONE_OPERAND) | labelled(TWO_OPERANDS)
OVER_AXES = labelled(REDUCTIONS) | labelled(PRODUCTS) | labelled(SHAPES)

# Torch's own derivative of this one multiplies by a sixth rounded to float32.
ROUNDED_BY_TORCH = {"hardsigmoid-0": torch.finfo(torch.float32).eps}

KINKS = [0.0, -0.0, 1.0, -1.0, 3.0, -3.0, 6.0, 20.0, -0.5]
LARGE = [1e3, -1e3, 20.5, -20.5, 100.0, 1e-3, -1e-3, 1e-300, 700.0]


def uniform(*shape: int, seed: int, low: float = -1.0, high: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)


def every_pair(values: list[float]) -> tuple[Tensor, Tensor]:
    """All pairs of the values, ties among them, in rows of N."""
    pairs = [(a, b) for a in values for b in values]
    pairs += pairs[: -len(pairs) % N]
    first, second = torch.tensor(pairs, dtype=torch.float64).unbind(1)
    return first.reshape(-1, N), second.reshape(-1, N)


POINTS: dict[str, tuple[Tensor, Tensor]] = {
    "random": (uniform(4, N, seed=0, low=-4, high=4), uniform(4, N, seed=1, low=-4, high=4)),
    "positive": (uniform(4, N, seed=2, low=0.2, high=3), uniform(4, N, seed=3, low=0.2, high=3)),
    "kinks": every_pair(KINKS),
    "large": every_pair(LARGE),
}
PARAMETER = uniform(N, N, seed=4)


def assert_same(ours: Result, theirs: Result, bound: Tensor | float, loose: float = 0.0) -> None:
    for name, want in theirs.parts().items():
        got = ours.parts()[name]
        assert got.shape == want.shape, name
        assert got.dtype == want.dtype, name
        got, want = got.double(), want.double()
        both_nan = got.isnan() & want.isnan()
        # Not |got - want| where both are the same infinity.
        error = torch.where((got == want) | both_nan, 0.0, (got - want).abs())
        allowed = bound * want.abs().nan_to_num(0.0, 0.0, 0.0).clamp(min=1) + loose
        assert (error <= allowed).all(), f"{name}: {got} instead of {want}"


def elementwise_bound(x: Tensor, h: Tensor) -> float:
    """Compositions have 16 operations at most, each wrong by one ulp, in torch's and in ours.

    An ulp of an argument z moves a value f by |z f'(z)| ulps, which for all functions here is
    within 3 (1 + |z|) (1 + |f|); intermediate z are within the points and W, whose entries are
    below 1.
    """
    largest = max(1.0, x.abs().max().item(), h.abs().max().item())
    return 2 * 16 * EPS * 3 * (1 + largest)


# CONTRIBUTING.md registers one for an example, in the same process.
OURS = {n for n, handler in FUNCTIONS.items() if handler.__module__.startswith("unrolled.")}


def test_every_function_is_in_the_table() -> None:
    assert names() == OURS


class Recorder(dict[str, Any]):
    """A registry that remembers what was looked up."""

    def __init__(self, functions: dict[str, Any]) -> None:
        super().__init__(functions)
        self.called: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:  # type: ignore[override]
        self.called.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> Any:
        self.called.add(name)
        return super().__getitem__(name)


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_table_calls_each_function_by_its_name(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder(FUNCTIONS)
    monkeypatch.setattr(proxy, "FUNCTIONS", recorder)
    for f in calls_of(name):
        graph_of(f, N, N)
    assert name in recorder.called


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("label", ELEMENTWISE)
def test_elementwise(label: str, points: str) -> None:
    x, h = POINTS[points]
    f = ELEMENTWISE[label]
    shape = (len(x), *f(x[0], h[0], PARAMETER).shape)
    weight = None if points == "large" else uniform(*shape, seed=5, low=0.5, high=2)
    theirs = by_torch(f, x, h, PARAMETER, weight)
    loose = ROUNDED_BY_TORCH.get(label, 0.0)
    assert_same(compiled(f, x, h, PARAMETER, weight), theirs, elementwise_bound(x, h), loose)


INFINITE = torch.tensor([[math.inf, -math.inf, math.nan, 1.0, -1.0, 0.0]], dtype=torch.float64)
OTHER = torch.tensor([[1.0, -1.0, 0.5, math.inf, math.nan, -math.inf]], dtype=torch.float64)


# Torch takes one of two formulas by the size of each weight; ours is one, where inf - inf can show.
@pytest.mark.parametrize("label", [label for label in ELEMENTWISE if label != "lerp-1"])
def test_elementwise_on_infinities_and_nan(label: str) -> None:
    f = ELEMENTWISE[label]
    for x, h in ((INFINITE, INFINITE), (OTHER, INFINITE), (INFINITE, OTHER)):
        theirs = by_torch(f, x, h, PARAMETER, None)
        ours = compiled(f, x, h, PARAMETER, None)
        # What the derivative at NaN is, is nobody's business; elsewhere it is torch's, but where
        # torch itself has NaN.
        unknown = x.isnan() | h.isnan()
        d_x = torch.where(unknown | theirs.d_x.isnan(), ours.d_x, theirs.d_x)
        d_h = torch.where(unknown | theirs.d_h.isnan(), ours.d_h, theirs.d_h)
        assert_same(
            ours,
            Result(theirs.value, d_x, d_h, ours.d_W),
            elementwise_bound(torch.ones(1), torch.ones(1)),
            ROUNDED_BY_TORCH.get(label, 0.0),
        )


# Each of at most N * N terms passes through 8 operations at most; no intermediate value or
# derivative of the samples is above 400 (W @ W @ h: 36 terms below 3, a softmax's or a norm's
# derivative divides by no less than 0.2).
AXES_BOUND = 2 * N * N * 8 * EPS * 400


@pytest.mark.parametrize("label", OVER_AXES)
def test_over_axes(label: str) -> None:
    f = OVER_AXES[label]
    x, h = uniform(3, N, seed=6, high=2), uniform(3, N, seed=7, high=2)
    weight = uniform(3, *f(x[0], h[0], PARAMETER).shape, seed=8)
    theirs = by_torch(f, x, h, PARAMETER, weight)
    assert_same(compiled(f, x, h, PARAMETER, weight), theirs, AXES_BOUND)


TIES: dict[str, list[float]] = {
    "all equal": [2.0] * N,
    "all zero": [0.0] * N,
    "largest thrice": [3.0, 1.0, 3.0, -2.0, 3.0, -2.0],
    "large": [1e3, -1e3, 999.0, 1e3, 0.0, 5.0],
}


@pytest.mark.parametrize("ties", TIES)
@pytest.mark.parametrize("label", labelled(REDUCTIONS))
def test_reductions_where_entries_tie(label: str, ties: str) -> None:
    f = OVER_AXES[label]
    h = torch.tensor([TIES[ties]], dtype=torch.float64)
    x = uniform(1, N, seed=9)
    theirs = by_torch(f, x, h, PARAMETER, None)
    ours = compiled(f, x, h, PARAMETER, None)
    if label.startswith(("layer_norm", "rms_norm")) and ties != "largest thrice":
        # Its derivative is a difference of terms of size 1/√ε that cancel, or a rounding error
        # of the mean over √ε; what must hold is that it is finite and as small.
        assert all(part.isfinite().all() for part in ours.parts().values())
        return
    assert_same(ours, theirs, AXES_BOUND * 1e3)


@pytest.mark.parametrize("odd", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("label", labelled(REDUCTIONS))
def test_reductions_of_infinities_and_nan(label: str, odd: float) -> None:
    f = OVER_AXES[label]
    x = uniform(1, N, seed=9)
    for entries in ([odd, 1.0, 2.0, -1.0, 0.0, 0.5], [odd] * N):
        h = torch.tensor([entries], dtype=torch.float64)
        got = compiled(f, x, h, PARAMETER, None).value
        want = by_torch(f, x, h, PARAMETER, None).value
        torch.testing.assert_close(got, want, rtol=AXES_BOUND, atol=AXES_BOUND, equal_nan=True)


CONVERSIONS = ("double-1", "to-3")  # to float64, where that is the step's type anyway


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("label", [k for k in ELEMENTWISE | OVER_AXES if k not in CONVERSIONS])
def test_the_type_is_the_steps(label: str, dtype: torch.dtype) -> None:
    f: Call = (ELEMENTWISE | OVER_AXES)[label]
    x, h = (uniform(2, N, seed=k, low=0.2, high=0.9).to(dtype) for k in (10, 11))
    ours = compiled(f, x, h, PARAMETER.to(dtype), None)
    assert ours.value.dtype in (dtype, torch.bool)
    assert {ours.d_x.dtype, ours.d_h.dtype, ours.d_W.dtype} == {dtype}
