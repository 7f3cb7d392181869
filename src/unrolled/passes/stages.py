"""Stages: what a time loop can be rid of, before it (hoist) and after it (sink).

``hoist``: what no state reaches is computed for all time steps at once before the loop, so that
the input products become one product.  ``sink``, its mirror: what the next states don't need is
computed for all time steps at once after the loop, so that a step's output, and in the reverse
loop every parameter's cotangent, become one product too.  The same two functions serve the step
and its adjoint; there, the carried cotangents are the states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.ir import Equation, Graph, Var

Stage = Literal["before", "loop", "after"]


@dataclass(frozen=True)
class Schedule:
    """A graph with its equations sorted into the three stages, each in order."""

    graph: Graph
    before: tuple[Equation, ...]
    loop: tuple[Equation, ...]
    after: tuple[Equation, ...]

    def reads(self, stage: Stage) -> tuple[Var, ...]:
        """The variables that a stage reads and does not compute itself, in order."""
        equations: tuple[Equation, ...] = getattr(self, stage)
        own = {e.out for e in equations}
        read = (v for e in equations for v in e.inputs if v not in own)
        return tuple(dict.fromkeys(read))


def hoist(graph: Graph) -> frozenset[Var]:
    """The values that no state reaches."""
    reached: set[Var] = set(graph.states)
    free: set[Var] = set()
    for equation in graph.equations:
        if any(v in reached for v in equation.inputs):
            reached.add(equation.out)
        else:
            free.add(equation.out)
    return frozenset(free)


def sink(graph: Graph) -> frozenset[Var]:
    """The values that no next state needs."""
    needed: set[Var] = set(graph.next_states)
    idle: set[Var] = set()
    for equation in reversed(graph.equations):
        if equation.out in needed:
            needed.update(equation.inputs)
        else:
            idle.add(equation.out)
    return frozenset(idle)


def stages(graph: Graph) -> dict[Var, Stage]:
    """Where each value is computed.

    What no state reaches comes before the loop even if no next state needs it.  Sums over all
    steps are the exception: they can only come after.
    """
    early, late = hoist(graph), sink(graph)
    placed: dict[Var, Stage] = {}
    for equation in graph.equations:
        total = equation.op in ("total", "total_outer")
        follows = total or any(placed.get(v) == "after" for v in equation.inputs)
        if follows:
            placed[equation.out] = "after"
        elif equation.out in early:
            placed[equation.out] = "before"
        else:
            placed[equation.out] = "after" if equation.out in late else "loop"
    return placed


def schedule(graph: Graph) -> Schedule:
    """The graph's equations before, in and after the time loop."""
    placed = stages(graph)
    before, loop, after = (
        tuple(e for e in graph.equations if placed[e.out] == stage)
        for stage in ("before", "loop", "after")
    )
    return Schedule(graph, before, loop, after)
