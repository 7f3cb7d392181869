"""How far a step in float32 may be from the exact one: a running error analysis, at export.

Every value of the step is followed in float64 with a bound on the distance of the float32 value
from the exact one (Higham 2002, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section
3.3).  With ``u = 2^-24``, γ(n) = n u / (1 - n u):

- a sum or product is wrong by u of the magnitudes that go into it, a sum or dot product of n terms
  by γ(n) of theirs, in any order and with fused multiply-adds or without;
- ``sqrtf`` is correctly rounded (IEEE 754); the other functions of libm are taken to be within
  4 ulp, 8 u: an assumption, which the test program holds the target's libm to (the GNU C library's
  manual lists at most 2 ulp for those used here); the helper ``sigmoid``, with a sum and a quotient
  around its exponential, within 12 u;
- what an operand is off by is handed on over the whole interval in which the operand may lie, whose
  ends have the extreme values of a monotone function; ``sin`` and ``cos`` have slopes of at most 1;
- a comparison whose operands are nearer to each other than their errors may go either way: what it
  decides is then off by the distance of the two choices.

The float64 values have an error of their own, some 2^-29 of the bound; ``SLACK`` covers it, and
``TINY`` results below the normal float32 numbers, flushed to zero or not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unrolled.interop.c.prepare import Step
from unrolled.ir import Atom, Equation, Var
from unrolled.ops import TABLE

U = 2.0**-24
SLACK = 1 + 2.0**-20
TINY = 2.0**-100

MONOTONE = {
    "exp": 8, "expm1": 8, "log": 8, "log1p": 8, "sqrt": 1, "rsqrt": 2, "erf": 8, "tanh": 8,
    "sigmoid": 12, "pow": 8,
}  # fmt: skip
"""Functions whose extreme values are at an interval's ends, with their rounding in units of u."""
_MOVED = {"slice", "broadcast", "reshape", "transpose", "detach", "cat", "take", "place"}
_COMPARISONS = {"lt", "le", "gt", "ge", "eq", "ne"}
_LOGICAL = {"logical_and", "logical_or", "logical_not"}


@dataclass(frozen=True)
class Near:
    """A float64 value, and how far the float32 one may be from it; 1 for an undecided condition."""

    value: Tensor
    error: Tensor


def exactly(value: Tensor) -> Near:
    """A value that float32 has too."""
    return Near(value, torch.zeros_like(value, dtype=torch.float64))


def bounds(
    step: Step, given: Mapping[Var, Near], fixed: Mapping[Var, Tensor]
) -> tuple[list[Near], list[Near]]:
    """The outputs and the next states from the input and the states, in their order.

    ``fixed`` are the exact values of what is fixed; C has them rounded to float32.
    """
    values = dict(given)
    stored = set(step.fixed)
    for v, value in fixed.items():
        kept = value.double()
        # What is read as a part of an array is exactly as wrong as the array.
        single = kept.float().double() if v in stored or step.views[v].root in stored else kept
        values[v] = Near(value, torch.where(single == kept, 0.0, (single - kept).abs()))
    for e in step.graph.equations:
        if e.out.per_step:
            values[e.out] = rounded(e, [_operand(a, values) for a in e.args])
    graph = step.graph
    return [values[o.var] for o in graph.outputs], [values[v] for v in graph.next_states]


def allowed(near: Near) -> Tensor:
    """The bound that a test may hold float32 results to; infinity where there is none."""
    return (near.error * SLACK + TINY).nan_to_num(nan=torch.inf)


def rounded(e: Equation, args: list[Near]) -> Near:
    """The result of an equation; an infinity is exact, and beyond float32's range nothing is."""
    near = _rounded(e, args)
    if near.value.dtype is torch.bool:
        return near
    beyond = near.value.abs() + near.error > torch.finfo(torch.float32).max
    error = near.error.masked_fill(beyond, torch.inf).masked_fill(near.value.isinf(), 0.0)
    return Near(near.value, error)


def _rounded(e: Equation, args: list[Near]) -> Near:
    op, a = e.op, args[0]

    def run(*tensors: Tensor) -> Tensor:
        return TABLE[op].run(e, *tensors)

    value = run(*(x.value for x in args))
    off = [x.error for x in args]
    # How large each operand may be in float32.
    most = [x.value.double().abs() + x.error for x in args]
    match op:
        case _ if op in _MOVED:
            return Near(value, run(*off))
        case _ if op in _LOGICAL:
            return Near(value, torch.stack([*torch.broadcast_tensors(*off)]).amax(0))
        case _ if op in _COMPARISONS:
            doubt = off[0] + off[1]
            gap = (a.value - args[1].value).abs()
            return Near(value, ((gap <= doubt) & (doubt > 0)).double())
        case "neg" | "abs" | "relu":
            return Near(value, a.error)
        case "sign":
            return Near(value, torch.where((a.value.abs() <= a.error) & (a.error > 0), 2.0, 0.0))
        case "maximum" | "minimum":
            return Near(value, torch.maximum(*torch.broadcast_tensors(*off)))
        case "where":
            b, c = args[1:]
            chosen = torch.where(a.value, b.error, c.error)
            other = torch.where(a.value, c.error, b.error) + (b.value - c.value).abs()
            return Near(value, torch.where(a.error > 0, torch.maximum(chosen, other), chosen))
        case "add" | "sub":
            return Near(value, off[0] + off[1] + U * (most[0] + most[1]))
        case "mul":
            handed_on = a.value.abs() * off[1] + off[0] * most[1]
            return Near(value, handed_on + U * most[0] * most[1])
        case "div":
            least = (args[1].value.abs() - off[1]).clamp(min=0)
            return Near(value, (off[0] + value.abs() * off[1] + U * most[0]) / least)
        case "sum" | "mean" | "put":
            n = int(e.inputs[0].shape[e["axis"]])
            return Near(value, run(off[0]) + gamma(n + 1) * run(most[0]))
        case "amax":
            return Near(value, a.error.amax(e["axis"], keepdim=True))
        case "matmul":
            handed_on = run(a.value.abs(), off[1]) + run(off[0], most[1])
            return Near(value, handed_on + gamma(int(e.inputs[0].shape[1])) * run(*most))
        case "sin" | "cos":
            return Near(value, off[0] + 8 * U)
        case _:
            ends = [(run(a.value + s * a.error) - value).abs() for s in (-1, 1)]
            handed_on = torch.where(a.error == 0, 0.0, torch.maximum(*ends))
            if op == "pow" and e["exponent"] < 0:  # a pole within the interval
                handed_on = handed_on.masked_fill(a.value.abs() <= a.error, torch.inf)
            return Near(value, handed_on + MONOTONE[op] * U * (value.abs() + handed_on))


def gamma(n: int) -> float:
    """The relative error of n roundings one after the other."""
    return n * U / (1 - n * U)


def _operand(a: Atom, values: Mapping[Var, Near]) -> Near:
    if isinstance(a, Var):
        return values[a]
    with np.errstate(over="ignore"):
        single = float(np.float32(a))
    off = 0.0 if single == a else abs(single - a)
    return Near(torch.tensor(a, dtype=torch.float64), torch.tensor(off, dtype=torch.float64))
