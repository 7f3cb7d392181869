"""Regrouping: the terms of a sum are added in the order of their stages.

``W x + b + U h + c`` is read from left to right as ``((W x + b) + U h) + c``, which leaves two
additions in the loop.  Added by stage, parameters first, then what is known before the loop, then
what the state reaches, one is left, and the biases are added up once a call.  A sum's rounding may
change in the last place; its bound does not.
"""

from __future__ import annotations

from collections import Counter

from unrolled.ir import Atom, Equation, Graph, Var
from unrolled.passes.rewrite import Rewriter
from unrolled.passes.stages import hoist


def regroup(graph: Graph) -> Graph:
    """The graph with its sums regrouped."""
    definitions = graph.definitions()
    early = hoist(graph)
    uses = Counter(v for e in graph.equations for v in e.inputs)
    uses.update(graph.results)

    def in_loop(value: Atom) -> bool:
        return isinstance(value, Var) and value in definitions and value not in early

    def inner(value: Atom) -> bool:
        """Whether a sum's term is itself a sum that only this sum reads."""
        return (
            isinstance(value, Var)
            and value.per_step
            and value in definitions
            and definitions[value].op == "add"
            and uses[value] == 1
        )

    def terms(equation: Equation) -> list[Atom]:
        return [
            t
            for a in equation.args
            for t in (terms(definitions[a]) if isinstance(a, Var) and inner(a) else [a])
        ]

    def stage(term: Atom) -> int:
        if not isinstance(term, Var) or not term.per_step:
            return 0
        return 2 if term in graph.states or in_loop(term) else 1

    absorbed = {a for e in graph.equations if e.op == "add" for a in e.inputs if inner(a)}
    rewriter = Rewriter(graph)
    for equation in graph.equations:
        if equation.out in absorbed:
            continue
        if equation.op != "add" or not equation.out.per_step:
            rewriter.keep(equation)
            continue
        parts = sorted(terms(equation), key=stage)
        if len(parts) == 2:
            rewriter.keep(equation)
            continue
        values = [rewriter.values[p] if isinstance(p, Var) else p for p in parts]
        total = values[0]
        for k, value in enumerate(values[1:], 2):
            last = k == len(values)
            name = equation.out if last else Var("v0", equation.out.shape)
            step = Equation(name, "add", (total, value), (), equation.location)
            total = (
                rewriter.builder.copy(step, (total, value))
                if _has_var(total, value)
                else _sum(total, value)
            )
        rewriter.values[equation.out] = total
    return rewriter.finish()


def _has_var(*values: Atom) -> bool:
    return any(isinstance(v, Var) for v in values)


def _sum(a: Atom, b: Atom) -> float:
    assert not isinstance(a, Var)
    assert not isinstance(b, Var)
    return a + b
