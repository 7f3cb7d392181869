"""Which values of a step are gates, and what each state keeps of itself: read from the equations.

A **gate** is a value that lies between 0 and 1 whatever the inputs are (interval arithmetic says
so, :mod:`unrolled.passes.intervals`), that varies over time, and that scales another such value
element by element, itself or as 1 − g.  So it does not matter how it is computed: by a sigmoid, a
hard one, a share f / (f + i), a softmax.  Not counted is what a value is scaled by in an activation
alone, as in silu, x σ(x).

What a state **keeps** is the coefficient a of ``s_t = a ⊙ s_{t-1} + …`` in the terms that reach the
new state by sums and products alone: f of an LSTM's c, z of a GRU's h, 1 − Γ_u where Γ_u lets in.
What the candidate and the gates themselves see of the state is not in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePath

from unrolled.ir import Atom, Equation, Graph, Var, number
from unrolled.ops import TABLE
from unrolled.passes.intervals import intervals

Term = tuple[float, tuple[Var, ...]]
"""A product: a number, and the values that it is multiplied with."""

_ROUNDING = 1e-9
_MOST_TERMS = 100
_SHOWN_DEPTH = 3
_INFIX = {"add": "+", "sub": "−", "mul": "⊙", "div": "/"}
_FUNCTIONS = {"sigmoid": "σ", "tanh": "tanh", "relu": "relu", "exp": "exp"}


@dataclass(frozen=True)
class GateEquation:
    """A gate of a step.

    Attributes:
        var: Its value.
        label: What it is called: its name in the source, or how it is computed, as ``σ(f)``.
        scales: What it multiplies, as text; ``(1 − z) ⊙ n`` where it does so as one minus itself.
        keeps: The states whose old value it is a factor of in their new one.
    """

    var: Var
    label: str
    scales: tuple[str, ...]
    keeps: tuple[str, ...]


@dataclass(frozen=True)
class Kept:
    """How much of itself a state keeps in a step: a sum of products of values."""

    state: Var
    terms: tuple[Term, ...]

    @property
    def factors(self) -> frozenset[Var]:
        """All values in it."""
        return frozenset(v for _, values in self.terms for v in values)


@dataclass(frozen=True)
class GateEquations:
    """The gates of a step, and what its states keep by sums and products."""

    gates: tuple[GateEquation, ...]
    kept: tuple[Kept, ...]

    @staticmethod
    def of(graph: Graph) -> GateEquations:
        """Reads a step's equations."""
        step = _Step.of(graph)
        kept = tuple(
            Kept(state, tuple(terms))
            for state, after in zip(graph.states, graph.next_states, strict=True)
            if (terms := step.coefficient(state, after))
        )
        found: dict[Var, dict[str, None]] = {}
        for gate, use in _uses(step):
            found.setdefault(gate, {})[use] = None
        keeping = [
            (k.state.name, {step.gate(part)[0] for v in k.factors for part in step.parts(v)})
            for k in kept
        ]
        gates = (
            GateEquation(
                gate,
                step.called(gate),
                tuple(uses),
                tuple(state for state, values in keeping if gate in values),
            )
            for gate, uses in found.items()
        )
        return GateEquations(tuple(gates), kept)


@dataclass(frozen=True)
class _Step:
    """A step whose equal values are one."""

    graph: Graph
    made: dict[Var, Equation]
    first: dict[Var, Var]
    bounded: frozenset[Var]

    @staticmethod
    def of(graph: Graph) -> _Step:
        first: dict[Var, Var] = {}
        seen: dict[tuple[object, ...], Var] = {}
        for e in graph.equations:
            args = tuple(first.get(a, a) if isinstance(a, Var) else a for a in e.args)
            first[e.out] = seen.setdefault((e.op, args, e.attributes), e.out)
        limits = intervals(graph)
        bounded = frozenset(
            v
            for v, (low, high) in limits.items()
            if v.per_step and low >= -_ROUNDING and high <= 1 + _ROUNDING and low < high
        )
        return _Step(graph, graph.definitions(), first, bounded)

    def equation(self, atom: Atom, *ops: str) -> Equation | None:
        e = self.made.get(atom) if isinstance(atom, Var) else None
        return e if e is not None and (not ops or e.op in ops) else None

    def args(self, equation: Equation) -> tuple[Atom, ...]:
        return tuple(self.first.get(a, a) if isinstance(a, Var) else a for a in equation.args)

    def gate(self, value: Var) -> tuple[Var, bool]:
        """What a factor is a form of, and whether that is one minus it."""
        value = self.first.get(value, value)
        spread = self.equation(value, "broadcast", "reshape")
        if spread is not None:
            return self.gate(spread.inputs[0])
        inner = self._one_minus(value)
        if inner is None or inner not in self.bounded:
            return value, False
        base, opposite = self.gate(inner)
        return base, not opposite

    def _one_minus(self, value: Var) -> Var | None:
        e = self.equation(value, "sub", "add")
        if e is None:
            return None
        a, b = self.args(e)
        if e.op == "sub":
            return b if isinstance(b, Var) and a == 1.0 else None
        for one, other in ((a, b), (b, a)):
            negated = self.equation(other, "neg")
            if one == 1.0 and negated is not None:
                inner = self.args(negated)[0]
                return inner if isinstance(inner, Var) else None
        return None

    def parts(self, value: Var) -> list[Var]:
        """A factor's own factors, where it is a product of values between 0 and 1."""
        found: dict[Var, None] = {}
        waiting, seen = [value], {value}
        while waiting:
            at = waiting.pop()
            inner = self._inner(at, "mul")
            if len(inner) == 2 and all(v in self.bounded for v in inner):
                waiting += [v for v in reversed(inner) if v not in seen]
                seen.update(inner)
            else:
                found[at] = None
        return list(found)

    def within_activation(self, value: Var, of: Var) -> bool:
        """Whether a value is made of another and numbers alone, element by element."""
        if value == of:
            return True
        waiting, seen = [value], {value, of}
        while waiting:
            e = self.equation(waiting.pop())
            if e is None or not TABLE[e.op].elementwise:
                return False
            inner = self._inner(e.out)
            waiting += [v for v in inner if v not in seen]
            seen.update(inner)
        return True

    def _inner(self, value: Var, *ops: str) -> list[Var]:
        """The values that an equation reads, where it is one of these ops."""
        e = self.equation(value, *ops)
        return [] if e is None else [a for a in self.args(e) if isinstance(a, Var)]

    def coefficient(self, state: Var, after: Var) -> list[Term]:
        """Of a state in its new value; nothing where that has it in no sum of products."""
        found: dict[Var, list[Term] | None] = {state: [(1.0, ())]}
        for e in self.graph.equations:
            if e.op not in _CARRY:
                continue
            parts = [found.get(a, []) if isinstance(a, Var) else [] for a in e.args]
            if any(part is None for part in parts):
                found[e.out] = None
            elif any(parts):
                found[e.out] = _CARRY[e.op](e.args, [part or [] for part in parts])
        return found.get(after, []) or []

    def called(self, gate: Var) -> str:
        """A gate's label; with its place in the source where it has no name of its own."""
        label, e = self.label(gate), self.equation(gate)
        if label != gate.name or not _provisional(label) or e is None or e.location is None:
            return label
        return f"{label} ({PurePath(e.location.file).name}:{e.location.line})"

    def label(self, atom: Atom, depth: int = _SHOWN_DEPTH) -> str:
        """What a value is called: its name, or how it is computed where it has none."""
        if not isinstance(atom, Var):
            return number(atom)
        e = self.equation(atom)
        if e is None or not _provisional(atom.name) or depth == 0:
            return atom.name
        if e.op in _INFIX:
            a, b = (self.label(x, depth - 1) for x in e.args)
            return f"({a} {_INFIX[e.op]} {b})"
        if e.op in _FUNCTIONS:
            inner = self.label(e.args[0], depth - 1)
            return f"{_FUNCTIONS[e.op]}({inner.removeprefix('(').removesuffix(')')})"
        return atom.name


def _provisional(name: str) -> bool:
    """Whether the tracer gave it, to a value that has none in the source."""
    return name[0] == "v" and name[1:].isdigit()


def _times(term: Term, factor: Atom) -> Term:
    scale, values = term
    return (scale, (*values, factor)) if isinstance(factor, Var) else (scale * factor, values)


def _sum(left: list[Term], right: list[Term]) -> list[Term] | None:
    """Equal products are one; None where there are too many to be told."""
    found: dict[tuple[Var, ...], float] = {}
    for scale, values in left + right:
        key = tuple(sorted(values, key=str))
        found[key] = found.get(key, 0.0) + scale
    terms = [(scale, values) for values, scale in found.items()]
    return terms if len(terms) <= _MOST_TERMS else None


def _negated(terms: list[Term]) -> list[Term]:
    return [(-scale, values) for scale, values in terms]


def _product(args: tuple[Atom, ...], parts: list[list[Term]]) -> list[Term] | None:
    left, right = parts
    if left and right:
        return None  # a square of the state
    return [_times(term, args[1] if left else args[0]) for term in left or right]


def _quotient(args: tuple[Atom, ...], parts: list[list[Term]]) -> list[Term] | None:
    divisor = args[1]
    if isinstance(divisor, Var):
        return None
    return [(scale / divisor, values) for scale, values in parts[0]]


_CARRY: dict[str, Callable[[tuple[Atom, ...], list[list[Term]]], list[Term] | None]] = {
    "add": lambda args, parts: _sum(parts[0], parts[1]),
    "sub": lambda args, parts: _sum(parts[0], _negated(parts[1])),
    "neg": lambda args, parts: _negated(parts[0]),
    "reshape": lambda args, parts: parts[0],
    "mul": _product,
    "div": _quotient,
}
"""The coefficient of a state in an op's result, from those in its operands."""


def _uses(step: _Step) -> list[tuple[Var, str]]:
    """Each gate with a product that it is a factor of, in the order of the equations.

    Where both factors lie between 0 and 1, the one that is a gate elsewhere is it; else both are.
    """
    sure: list[tuple[int, Var, str]] = []
    open_: list[tuple[int, tuple[Var, Var]]] = []
    for at, e in enumerate(step.graph.equations):
        inner = [a for a in step.args(e) if isinstance(a, Var) and a.per_step]
        if e.op != "mul" or len(inner) != 2:
            continue
        a, b = inner
        if a in step.bounded and b in step.bounded:
            open_.append((at, (a, b)))
        for value, other in ((a, b), (b, a)):
            if value in step.bounded and other not in step.bounded:
                sure += [(at, *use) for use in _use(step, value, other)]
    known = {gate for _, gate, _ in sure}
    for at, (a, b) in open_:
        sides = [v for v in (a, b) if step.gate(v)[0] in known] or [a, b]
        for value in sides:
            sure += [(at, *use) for use in _use(step, value, b if value == a else a)]
    return [(gate, use) for _, gate, use in sorted(sure, key=lambda found: found[0])]


def _use(step: _Step, value: Var, other: Var) -> Iterable[tuple[Var, str]]:
    if step.within_activation(value, other):
        return
    for part in step.parts(value):
        gate, opposite = step.gate(part)
        name = step.label(gate)
        yield gate, f"{f'(1 − {name})' if opposite else name} ⊙ {step.label(other)}"
