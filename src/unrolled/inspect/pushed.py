"""A step whose states can be pushed, so that a gradient tells what each state is worth.

A push is a vector that is added to a state after a step, for everything that reads the state from
then on.  Pushes are zeros; the derivative of a loss by one is the total derivative by that state at
that time, ∂loss/∂h_t, which the derived backward pass of the whole sequence gives like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from unrolled.ir import Atom, Equation, Graph, Output, Var


def pushed(graph: Graph) -> Graph:
    """The step that reads its input and, behind it, a push for each state, in one vector."""
    x, size = graph.inputs[0], int(graph.inputs[0].shape[0])
    total = size + sum(int(s.shape[0]) for s in graph.states)
    taken = {v.name for v in graph.sources} | {e.out.name for e in graph.equations}
    wide = Var(_fresh("x_and_pushes", taken), (total,), "input")
    own = Var(x.name, x.shape)
    equations = [_part(wide, own, 0)]
    pushes: list[Var] = []
    for state in graph.states:
        start = size + sum(int(p.shape[0]) for p in pushes)
        pushes.append(Var(_fresh(f"push_{state.name}", taken), state.shape))
        equations.append(_part(wide, pushes[-1], start))

    now: dict[Var, Var] = {x: own}
    added = {
        new: Equation(Var(_fresh(f"{state.name}_pushed", taken), new.shape), "add", (new, push))
        for state, new, push in zip(graph.states, graph.next_states, pushes, strict=True)
        if graph.next_states.count(new) == 1
    }
    for equation in graph.equations:
        equations.append(replace(equation, args=tuple(_now(a, now) for a in equation.args)))
        if equation.out in added:
            equations.append(added[equation.out])
            now[equation.out] = added[equation.out].out
    after: list[Var] = []
    for state, new, push in zip(graph.states, graph.next_states, pushes, strict=True):
        if new in now and new in added:
            after.append(now[new])
            continue
        # What no equation makes, and what is two states at once, is pushed where it is kept.
        out = Var(_fresh(f"{state.name}_pushed", taken), new.shape)
        equations.append(Equation(out, "add", (now.get(new, new), push)))
        after.append(out)
    return replace(
        graph,
        name=f"pushed({graph.name})",
        inputs=(wide,),
        equations=tuple(equations),
        next_states=tuple(after),
        outputs=tuple(Output(o.name, now.get(o.var, o.var)) for o in graph.outputs),
    )


def _part(wide: Var, part: Var, start: int) -> Equation:
    cut = (("axis", -1), ("start", start), ("stop", start + int(part.shape[0])), ("step", 1))
    return Equation(part, "slice", (wide,), cut)


def _now(atom: Atom, now: Mapping[Var, Var]) -> Atom:
    return now.get(atom, atom) if isinstance(atom, Var) else atom


def _fresh(name: str, taken: set[str]) -> str:
    found, n = name, 1
    while found in taken:
        n += 1
        found = f"{name}_{n}"
    taken.add(found)
    return found
