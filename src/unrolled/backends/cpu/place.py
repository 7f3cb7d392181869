"""Placement: which equations of a schedule the generated loop takes, and which stay outside.

The plan hoists and sinks all that it can.  A fused loop wants elementwise work back: computing
``tanh`` of a value that is at hand is cheaper than reading it from a [T, B, H] buffer.  So the loop
takes every equation that varies by step, except products before and after the loop and what those
need or give.  Sums over steps of values that the loop computes are accumulated in it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from itertools import count

from unrolled.ir import Equation, Graph, Var
from unrolled.ops import TABLE
from unrolled.passes.stages import Schedule


@dataclass(frozen=True)
class Placement:
    """A schedule as the loop and what is computed around it.

    ``streams`` are the values over time that the loop reads, ``arrays`` those that are the same for
    the whole call, ``matrices`` the left operands of its products.  It writes ``written`` for every
    step and sums ``totals`` (equations) up.  ``shifted`` are states that are wanted for every step
    with the value that is their next one, which is written: the same sequence, one step apart.
    """

    graph: Graph
    before: tuple[Equation, ...]
    loop: tuple[Equation, ...]
    after: tuple[Equation, ...]
    streams: tuple[Var, ...]
    arrays: tuple[Var, ...]
    matrices: tuple[Var, ...]
    written: tuple[Var, ...]
    shifted: tuple[tuple[Var, Var], ...]
    totals: tuple[Equation, ...]


def place(schedule: Schedule, wanted: Collection[str], even: bool = True) -> Placement:
    """``wanted`` names values of the loop that are kept for every step, besides the outputs.

    Only where steps are ``even`` is a sequence of states another one, a step later.
    """
    graph, copies = _own_next_states(schedule.graph)
    outside = _needed_by_products(schedule.before)
    small = _small_vectors(schedule, outside, wanted)
    taken = {e.out for e in schedule.before if e.out.per_step and e.out not in outside} | small
    before = [e for e in schedule.before if e.out not in taken]
    loop = [e for e in schedule.before if e.out in taken]
    loop += [*schedule.loop, *copies]
    after: list[Equation] = []
    totals: list[Equation] = []
    late: set[Var] = set()
    in_loop = {e.out for e in loop} | set(graph.states)
    rows = _rows_of_products(schedule.after)
    for equation in schedule.after:
        total = equation.op == "total" and equation.inputs[0] in in_loop
        inside = equation.out.per_step and equation.op != "matmul" and equation.out not in rows
        if total:
            totals.append(equation)
        elif inside and not any(v in late for v in equation.inputs):
            loop.append(equation)
            in_loop.add(equation.out)
        else:
            after.append(equation)
            late.add(equation.out)

    products = [e for e in loop if e.op == "matmul"]
    matrices = tuple(dict.fromkeys(e.inputs[0] for e in products))
    read = dict.fromkeys(
        v
        for e in loop
        for k, v in enumerate(e.inputs)
        if v not in in_loop and not (e.op == "matmul" and k == 0)
    )
    read.update(dict.fromkeys(v for v in graph.next_states if v not in in_loop))
    later = {v for e in after for v in e.inputs} | {o.var for o in graph.outputs}
    kept = [v for v in (*graph.states, *(e.out for e in loop)) if v in later or v.name in wanted]
    computed = {e.out for e in loop}
    shifted = tuple(
        (state, following)
        for state, following in zip(graph.states, graph.next_states, strict=True)
        if even and state in kept and following in computed
    )
    # Where two states have one next value, only one of them is its sequence a step late.
    shifted = tuple({following: (state, following) for state, following in shifted}.values())
    kept = [v for v in kept if v not in dict(shifted)]
    written = tuple(dict.fromkeys([*kept, *(following for _, following in shifted)]))
    return Placement(
        graph,
        tuple(before),
        tuple(loop),
        tuple(after),
        tuple(v for v in read if v.per_step),
        tuple(v for v in read if not v.per_step),
        matrices,
        written,
        shifted,
        tuple(totals),
    )


def place_step(schedule: Schedule) -> Placement:
    """A forward step by itself: all that varies by step is in the loop, its products too."""
    graph, copies = _own_next_states(schedule.graph)
    equations = (*schedule.before, *schedule.loop, *schedule.after)
    loop = [e for e in equations if e.out.per_step] + copies
    computed = {e.out for e in loop}
    (output,) = graph.outputs
    if output.var.per_step and output.var not in computed:
        # The input or a state itself, which the output's memory is not.
        copy = replace(output.var, name=f"output_{output.var.name}", role="value")
        loop.append(Equation(copy, "detach", (output.var,)))
        graph = replace(graph, outputs=(replace(output, var=copy),))
    (output,) = graph.outputs
    products = [e for e in loop if e.op == "matmul"]
    in_loop = {e.out for e in loop} | set(graph.states)
    read = dict.fromkeys(
        v
        for e in loop
        for k, v in enumerate(e.inputs)
        if v not in in_loop and not (e.op == "matmul" and k == 0)
    )
    read.update(dict.fromkeys(v for v in graph.next_states if v not in in_loop))
    return Placement(
        graph,
        tuple(e for e in equations if not e.out.per_step),
        tuple(loop),
        (),
        tuple(v for v in read if v.per_step),
        tuple(v for v in read if not v.per_step),
        tuple(dict.fromkeys(e.inputs[0] for e in products)),
        (output.var,) if output.var.per_step else (),
        (),
        (),
    )


def _rows_of_products(after: tuple[Equation, ...]) -> set[Var]:
    """Parts of vectors that only products after the loop read: they can stay where they are."""
    cuts = {e.out for e in after if e.op == "slice" and e["axis"] == -1 and e["step"] == 1}
    cuts = {v for v in cuts if len(v.shape) == 1}
    return cuts - {v for e in after if e.op not in ("matmul", "total_outer") for v in e.inputs}


def _own_next_states(graph: Graph) -> tuple[Graph, list[Equation]]:
    """Next states that are parts of another value, or another state, as copies of their own.

    A state's memory is written anew two steps later, which whoever else points to it would notice.
    """
    views = {e.out for e in graph.equations if TABLE[e.op].cost == "view" and e.op != "detach"}
    taken = {v.name for v in (*graph.sources, *(e.out for e in graph.equations))}
    copies: list[Equation] = []
    following: list[Var] = []
    for state, var in zip(graph.states, graph.next_states, strict=True):
        if var in views or (var in graph.states and var != state):
            names = (f"next_{state.name}{'_' * n}" for n in count())
            name = next(n for n in names if n not in taken)
            taken.add(name)
            copy = replace(var, name=name, role="value")
            copies.append(Equation(copy, "detach", (var,)))
            var = copy
        following.append(var)
    return replace(graph, next_states=tuple(following)), copies


def _small_vectors(schedule: Schedule, outside: set[Var], wanted: Collection[str]) -> set[Var]:
    """Vectors of the parameters alone (sums and parts of biases) that only the loop reads.

    Adding two biases in the loop costs less than a call to torch before it.
    """
    graph = schedule.graph
    others = {*graph.next_states, *(o.var for o in graph.outputs)}
    others |= {v for e in schedule.after for v in e.inputs}
    small: set[Var] = set()
    for equation in reversed(schedule.before):
        out, row = equation.out, TABLE[equation.op]
        free = out not in others and out.name not in wanted
        light = row.cost in ("view", "cheap") and (row.elementwise or equation.op == "slice")
        vectors = all(len(v.shape) == 1 for v in (out, *equation.inputs))
        if not out.per_step and free and light and vectors:
            small.add(out)
        elif not out.per_step or out in outside:
            others.update(equation.inputs)
    others |= {e.inputs[0] for e in (*schedule.before, *schedule.loop) if e.op == "matmul"}
    return small - others


def _needed_by_products(before: tuple[Equation, ...]) -> set[Var]:
    """The products over all time steps, and what varies by step that they read."""
    needed: set[Var] = set()
    for equation in reversed(before):
        if equation.out.per_step and (
            TABLE[equation.op].cost == "product" or equation.out in needed
        ):
            needed.add(equation.out)
            needed.update(equation.inputs)
    return needed
