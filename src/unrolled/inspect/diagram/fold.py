"""Which equations one box stands for: what a reader knows as one thing is drawn as one.

A product with a parameter takes up the biases that are added to it; sums and products of several
terms are one sign; a normalisation, which is ten equations, is one box; views of a value are the
value.  Only values that nobody else reads, and that no box shows by name, disappear into a box.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from unrolled.ir import Atom, Equation, Graph, Var
from unrolled.passes.stages import Stage, stages

VIEWS = {"broadcast", "reshape", "detach"}


def unnamed(var: Var) -> bool:
    """Whether the tracer gave the name."""
    return var.name[:1] == "v" and var.name[1:].isdigit()


@dataclass
class Folding:
    """A graph with what its boxes need to know of it."""

    graph: Graph
    made: dict[Var, Equation] = field(init=False)
    uses: Counter[Var] = field(init=False)
    stage: dict[Var, Stage] = field(init=False)

    def __post_init__(self) -> None:
        self.made = self.graph.definitions()
        self.uses = Counter(v for e in self.graph.equations for v in e.inputs)
        self.uses.update(self.graph.results)
        self.stage = stages(self.graph)

    def through(self, atom: Atom) -> tuple[Atom, list[Equation]]:
        """A value without the views of it, and these."""
        views: list[Equation] = []
        while isinstance(atom, Var) and atom in self.made and self.made[atom].op in VIEWS:
            views.append(self.made[atom])
            atom = self.made[atom].args[0]
        return atom, views

    def inner(self, atom: Atom, op: str) -> Equation | None:
        """The equation of a value that only one equation reads, where it has no name."""
        if isinstance(atom, Var) and self.uses[atom] == 1 and unnamed(atom):
            equation = self.made.get(atom)
            return equation if equation is not None and equation.op == op else None
        return None

    def fixed(self, atom: Atom) -> bool:
        """Whether a value is a number or the same at every step."""
        return not isinstance(atom, Var) or not atom.per_step

    def terms(self, equation: Equation) -> tuple[list[tuple[bool, Atom]], list[Equation]]:
        """The terms of a sum, each with whether it is taken away, and the sums within it."""
        found: list[tuple[bool, Atom]] = []
        within: list[Equation] = []
        for position, atom in enumerate(equation.args):
            minus = equation.op == "sub" and position == 1
            inner = self.inner(atom, "add") or self.inner(atom, "sub")
            if inner is None or not inner.out.per_step:
                found.append((minus, atom))
                continue
            below, sums = self.terms(inner)
            found += [(minus != sign, a) for sign, a in below]
            within += [inner, *sums]
        return found, within

    def factors(self, equation: Equation) -> tuple[list[Atom], list[Equation]]:
        """The factors of an elementwise product, and the products within it."""
        found: list[Atom] = []
        within: list[Equation] = []
        for atom in equation.args:
            inner = self.inner(atom, "mul")
            if inner is None or not inner.out.per_step or self.norm(inner):
                found.append(atom)
                continue
            below, products = self.factors(inner)
            found += below
            within += [inner, *products]
        return found, within

    def norm(self, equation: Equation) -> tuple[str, Var, list[Equation]] | None:
        """The normalisation that this equation ends: its name, what it is of, its equations.

        ``(v − mean v) / √(mean (v − mean v)² + ε)``, or without the mean taken away.
        """
        if equation.op != "mul" or len(equation.inputs) != 2:
            return None
        found = self._norm(equation)
        if found is None:
            return None
        inside = found[2]
        read = Counter(v for e in inside for v in e.inputs)
        alone = all(read[e.out] == self.uses[e.out] for e in inside if e is not equation)
        return found if alone and equation.out.per_step else None

    def _norm(self, equation: Equation) -> tuple[str, Var, list[Equation]] | None:
        centred, scale = equation.inputs
        root, views = self.through(scale)
        steps: list[Equation] = [equation, *views]
        for op in ("rsqrt", "add", "mean", "mul"):
            below = self.made.get(root) if isinstance(root, Var) else None
            if below is None or below.op != op or not unnamed(below.out):
                return None
            steps.append(below)
            root = below.args[0]
        if steps[-1].args != (centred, centred):
            return None
        below = self.made.get(centred)
        if below is None or below.op != "sub" or not unnamed(centred):
            return "rms norm", centred, steps
        value, mean = below.args
        mean, views = self.through(mean)
        average = self.made.get(mean) if isinstance(mean, Var) else None
        if average is None or average.op != "mean" or average.args != (value,):
            return "rms norm", centred, steps
        assert isinstance(value, Var)
        return "layer norm", value, [*steps, below, *views, average]
