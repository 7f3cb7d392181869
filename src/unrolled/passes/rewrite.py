"""Rebuilding a Graph equation by equation: what the rewriting passes share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from unrolled.builder import Builder
from unrolled.ir import Atom, Constant, Equation, Graph, Var

Rule = Callable[[Builder, Equation, tuple[Atom, ...]], Atom]
"""Given an equation and its operands in the new graph, the value that stands for its result."""


class Rewriter:
    """A new graph in the making, with the old graph's variables mapped to the new one's."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder = Builder(v.name for v in graph.sources)
        self.values: dict[Var, Atom] = {v: v for v in graph.sources}

    def args(self, equation: Equation) -> tuple[Atom, ...]:
        """The operands of an old equation, in the new graph."""
        return tuple(self.values[a] if isinstance(a, Var) else a for a in equation.args)

    def keep(self, equation: Equation) -> None:
        """Take an old equation over as it is."""
        self.values[equation.out] = self.builder.copy(equation, self.args(equation))

    def finish(self, constants: Iterable[Constant] = ()) -> Graph:
        """The new graph, without what nothing needs."""

        def var(old: Var) -> Var:
            new = self.values[old]
            assert isinstance(new, Var), f"{old} became the number {new}"
            return new

        graph = self.graph
        return replace(
            graph,
            equations=tuple(self.builder.equations),
            constants=(*graph.constants, *constants, *self.builder.constants),
            next_states=tuple(map(var, graph.next_states)),
            outputs=tuple(replace(o, var=var(o.var)) for o in graph.outputs),
        ).prune()


def rewrite(graph: Graph, rule: Rule) -> Graph:
    """``graph`` with each equation replaced by what ``rule`` makes of it."""
    rewriter = Rewriter(graph)
    for equation in graph.equations:
        rewriter.values[equation.out] = rule(rewriter.builder, equation, rewriter.args(equation))
    return rewriter.finish()
