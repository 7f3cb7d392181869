"""The order of a step in C: loops, each of which computes all it can of one length, and moves.

An equation joins the first loop of its own length that comes late enough: what it reads element by
element may be computed in the same loop, everything else (the vector of a product, what is summed
up, a value of which it reads another part) must be complete before.  Thus what lies between two
products is one loop, and only what is read across loops needs memory.

Then what is cheap goes to the last loop that can have it, if that asks for no more memory: what it
reads of its own loop is one value at most, which then waits in its place; or none, and then only
the input and what is fixed.  So ``1 - z`` is computed where it is used, and ``z`` alone is kept.
"""

from __future__ import annotations

from collections import defaultdict
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
    _postpone(step, statements, made)
    return [s for s in statements if isinstance(s, Move) or s.equations]


def _postpone(step: Step, statements: list[Statement], made: dict[Var, int]) -> None:
    """Moves equations to later loops, from the last one on."""
    readers: dict[Var, list[tuple[Equation, bool]]] = defaultdict(list)
    for e in step.equations:
        for operand in e.inputs:
            v = step.views[operand]
            readers[v.root].append((e, in_step(e, v)))
    for at in reversed(range(len(statements))):
        there = statements[at]
        if isinstance(there, Move):
            continue
        for e in reversed(list(there.equations)):
            ends = [made[r.out] - (not with_it) for r, with_it in readers[e.out]]
            if not ends or not _may_wait(step, e, at, made):
                continue
            for k in range(min(ends), at, -1):
                later = statements[k]
                if isinstance(later, Loop) and later.dims == there.dims:
                    there.equations.remove(e)
                    later.equations.insert(0, e)
                    made[e.out] = k
                    break


def _may_wait(step: Step, e: Equation, at: int, made: dict[Var, int]) -> bool:
    """Whether an equation can be moved out of its loop without keeping more values."""
    roots = {step.views[v].root for v in e.inputs}
    own = [root for root in roots if made.get(root) == at]
    if own:
        return len(own) == 1 and TABLE[e.op].cost in ("cheap", "view")
    return all(root in step.graph.inputs or root in step.fixed for root in roots)


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
