"""What one op does to rounding errors: those it hands on, and those it commits.

With ``u`` the unit roundoff and γ(n) = n u / (1 - n u) (Higham 2002, "Accuracy and Stability of
Numerical Algorithms", 2nd ed., ch. 3):

- one rounding of a sum or product is wrong by u relative to its result;
- exp, log, sqrt, tanh, … come within 1 ulp (2 u) from the libraries that torch calls, and
  σ = 1 / (1 + e^-x) takes two roundings more;
- n terms t are added up in any order with an error of γ(n - 1) Σ|t| at most, n products with
  γ(n) Σ|t|; γ(n) is charged for both, so that one more term may join the sum from outside.

An operand's error is handed on times the slope of the op there, which torch's own autograd gives:
the derivative rules under test have no part in it.  The slope is the largest of three in the
interval that the operand may lie in.  Underflow is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.ir import Equation
from unrolled.ops import TABLE

ROUNDINGS = {
    "exp": 2, "expm1": 2, "log": 2, "log1p": 2, "sqrt": 2, "rsqrt": 2, "sin": 2, "cos": 2, "erf": 2,
    "tanh": 2, "sigmoid": 4, "pow": 2,
}  # fmt: skip
"""The relative error of a function's evaluation, in units of u."""

MOVES = {"reshape", "broadcast", "transpose", "slice", "place", "cat", "take", "detach"}
"""Ops that only move elements: errors and masses move with them."""

COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
BOOLEAN = COMPARISONS | {"logical_and", "logical_or", "logical_not"}


@dataclass(frozen=True)
class Rounded:
    """A computed value, a bound on its distance from the exact one, its mass, the terms in its sum.

    ``mass`` is what no order of evaluation exceeds in a partial result: Σ|t| for a sum of terms t,
    the product of the masses for a product, the magnitude for what a function returns.
    """

    value: Tensor
    error: Tensor
    mass: Tensor
    terms: int = 1

    def map(self, function: Callable[[Tensor], Tensor]) -> Rounded:
        """The same elements elsewhere."""
        return Rounded(function(self.value), function(self.error), function(self.mass), self.terms)


def exact(value: Tensor) -> Rounded:
    """A value without error."""
    return Rounded(value, torch.zeros(value.shape, dtype=torch.float64), value.double().abs())


def gamma(n: int, u: float) -> float:
    """The relative error of n roundings one after the other."""
    return n * u / (1 - n * u)


def rounded(equation: Equation, args: list[Rounded], u: float) -> Rounded:
    """The result of an equation, on operands with any leading dimensions."""
    op, first = equation.op, args[0]

    def run(*tensors: Tensor) -> Tensor:
        return TABLE[op].run(equation, *tensors)

    if op in MOVES or op == "neg":
        value, error = run(*(a.value for a in args)), run(*(a.error for a in args)).abs()
        return Rounded(value, error, run(*(a.mass for a in args)).abs(), max(a.terms for a in args))
    if op in ("total", "total_outer"):
        return _total(equation, args, u)
    value = run(*(a.value for a in args))
    match op:
        case _ if op in BOOLEAN:
            return exact(value)
        case "sign":
            return exact(value)
        case "where":
            _, a, b = args
            pairs = ((a.error, b.error), (a.mass, b.mass))
            error, mass = (torch.where(first.value, p, q) for p, q in pairs)
            return Rounded(value, error, mass, max(a.terms, b.terms))
        case "add" | "sub":
            b = args[1]
            return _sum(value, first.error + b.error, first.mass + b.mass, first.terms + b.terms, u)
        case "sum" | "mean" | "put":
            terms = first.terms * int(equation.inputs[0].shape[equation["axis"]])
            return _sum(value, run(first.error), run(first.mass), terms, u)
        case "mul":
            error, mass = _product(first, args[1], torch.mul)
            return Rounded(value, error + u * mass, mass)
        case "div":
            b = args[1]
            smallest = (b.value.abs() - b.error).clamp(min=0)
            mass = first.mass / b.value.abs()
            return Rounded(value, (first.error + value.abs() * b.error) / smallest + u * mass, mass)
        case "matmul":
            error, mass = _product(first, args[1], run)
            return _sum(value, error, mass, int(equation.inputs[0].shape[1]), u)
        case "amax":
            error = first.error.amax(equation["axis"], keepdim=True)
            return Rounded(value, error, value.abs())
        case "abs":
            return Rounded(value, first.error, value.abs())
        case "relu":
            off = first.value + first.error <= 0
            return Rounded(value, first.error.masked_fill(off, 0.0), value.abs())
        case "maximum" | "minimum":
            return _larger(value, first, args[1], -1 if op == "minimum" else 1)
        case _:
            handed_on = torch.where(first.error == 0, 0.0, _slope(run, first) * first.error)
            return Rounded(value, handed_on + ROUNDINGS[op] * u * value.abs(), value.abs())


def _sum(value: Tensor, error: Tensor, mass: Tensor, terms: int, u: float) -> Rounded:
    return Rounded(value, error + gamma(terms, u) * mass, mass, terms)


def _product(
    a: Rounded, b: Rounded, times: Callable[[Tensor, Tensor], Tensor]
) -> tuple[Tensor, Tensor]:
    """The error that a bilinear function hands on, and its mass."""
    handed_on = times(a.value.abs() + a.error, b.error) + times(a.error, b.value.abs())
    return handed_on, times(a.mass, b.mass)


def _total(equation: Equation, args: list[Rounded], u: float) -> Rounded:
    """A sum over steps and examples of values with the leading dimensions [T, losses, B]."""
    rank = len(equation.inputs[0].shape)
    steps, _, batch = torch.broadcast_shapes(*(a.value.shape[:3] for a in args))

    def over_all(t: Tensor) -> Tensor:
        return t.expand(steps, -1, batch, *t.shape[3:]).sum((0, 2))

    def outer(p: Tensor, q: Tensor) -> Tensor:
        return over_all(p[..., :, None] * q[..., None, :])

    assert all(a.value.ndim == 3 + rank for a in args)
    if equation.op == "total":
        summed = args[0].map(over_all)
        return _sum(summed.value, summed.error, summed.mass, steps * batch * summed.terms, u)
    a, b = args
    error, mass = _product(a, b, outer)
    return _sum(outer(a.value, b.value), error, mass, steps * batch, u)


def _larger(value: Tensor, a: Rounded, b: Rounded, sign: int) -> Rounded:
    lead = sign * (a.value - b.value)
    clear = lead.abs() > a.error + b.error
    chosen = torch.where(lead > 0, a.error, b.error)
    return Rounded(value, torch.where(clear, chosen, torch.maximum(a.error, b.error)), value.abs())


def _slope(run: Callable[[Tensor], Tensor], a: Rounded) -> Tensor:
    """The largest slope of an elementwise function where its operand may lie."""
    near = torch.stack(torch.broadcast_tensors(a.value - a.error, a.value, a.value + a.error))
    with torch.enable_grad():
        points = near.requires_grad_()
        (slopes,) = torch.autograd.grad(run(points).sum(), points)
    return slopes.abs().amax(0)
