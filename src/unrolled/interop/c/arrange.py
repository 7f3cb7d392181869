"""The order of a step in C: loops, each of which computes all it can of one length, and moves.

An equation joins the first loop of its own length that comes late enough: what it reads element by
element may be computed in the same loop, everything else (the vector of a product, what is summed
up, a value of which it reads another part) must be complete before.  Thus what lies between two
products is one loop, and only what is read across loops needs memory.
"""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.interop.c.prepare import Step
from unrolled.interop.c.views import View, dims
from unrolled.ir import Equation, Shape, Var
from unrolled.ops import TABLE

MOVES = frozenset(["cat", "take", "place", "put"])
"""The ops that fill their result part by part."""


@dataclass(frozen=True)
class Loop:
    """Equations of one length, element by element; a length of 1 has no axes."""

    dims: Shape
    equations: list[Equation]


@dataclass(frozen=True)
class Move:
    """One equation that fills its result part by part."""

    equation: Equation


Statement = Loop | Move


def arrange(step: Step) -> list[Statement]:
    """The statements of the step, each after all that it reads."""
    statements: list[Statement] = []
    made: dict[Var, int] = {}
    for e in step.equations:
        if e.op in MOVES:
            made[e.out] = len(statements)
            statements.append(Move(e))
            continue
        lengths = loop_dims(e)
        first = 0
        for operand in e.inputs:
            v = step.views[operand]
            if v.root in made:
                with_it = in_step(e, v) and isinstance(statements[made[v.root]], Loop)
                first = max(first, made[v.root] + (not with_it))
        for k in range(first, len(statements)):
            there = statements[k]
            if isinstance(there, Loop) and there.dims == lengths:
                there.equations.append(e)
                made[e.out] = k
                break
        else:
            made[e.out] = len(statements)
            statements.append(Loop(lengths, [e]))
    return statements


def loop_dims(equation: Equation) -> Shape:
    """The axes that the loop of an equation runs over; a reshape copies what it reads in order."""
    shaped = equation.inputs[0] if equation.op == "reshape" else equation.out
    return dims(shaped.shape)


def in_step(equation: Equation, v: View) -> bool:
    """Whether an equation reads from a value just the element that its loop is at."""
    by_element = TABLE[equation.op].elementwise or equation.op == "reshape"
    return by_element and v.whole and dims(v.shape) == dims(v.root.shape) == loop_dims(equation)


def made_at(statements: list[Statement]) -> dict[Var, int]:
    """The statement that computes each value."""
    found: dict[Var, int] = {}
    for k, there in enumerate(statements):
        equations = there.equations if isinstance(there, Loop) else [there.equation]
        found.update((e.out, k) for e in equations)
    return found
