"""Intervals: between which numbers a value of a step lies, whatever its inputs are.

Interval arithmetic (Moore 1966) over a Graph: what comes from outside may be any number, an op maps
its operands' intervals to one that holds all its results.  It answers one question here: whether
the factor of a linear cell's state stays within ±1, so that products of many steps' factors can
not overflow, which is what a parallel scan forms and a loop over time does not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from unrolled.ir import Atom, Equation, Graph, Var
from unrolled.passes.linear import LinearForm

Interval = tuple[float, float]
"""The least and the largest number; an infinite end is no bound."""

ANY: Interval = (-math.inf, math.inf)


def contracts(form: LinearForm) -> bool:
    """Whether every state's factor is within ±1 for all inputs and parameters."""
    found = intervals(form.coefficients)
    factors = (o.var for o in form.coefficients.outputs if o.name.startswith("a_"))
    return all(low >= -1 and high <= 1 for low, high in (found[v] for v in factors))


def intervals(graph: Graph) -> dict[Var, Interval]:
    """The interval of every real value of the graph."""
    found: dict[Var, Interval] = dict.fromkeys(graph.sources, ANY)
    found.update((c.var, (min(c.data), max(c.data))) for c in graph.constants if c.data)
    known = _Known(found, graph.definitions())
    for equation in graph.equations:
        of = [known.of(a) for a in equation.args]
        related = _RELATED.get(equation.op, _unrelated)(equation, known)
        found[equation.out] = _RULES.get(equation.op, _any)(*of) if related is None else related
    return found


@dataclass(frozen=True)
class _Known:
    """Intervals so far, and what each value is made of."""

    found: Mapping[Var, Interval]
    made: Mapping[Var, Equation]

    def of(self, atom: Atom) -> Interval:
        return self.found[atom] if isinstance(atom, Var) else (atom, atom)

    def equation(self, atom: Atom, *ops: str) -> Equation | None:
        """What computes the operand, if that is one of these ops."""
        made = self.made.get(atom) if isinstance(atom, Var) else None
        return made if made is not None and made.op in ops else None

    def within(self, atom: Atom, of: Atom, limits: Interval) -> Interval:
        """The operand's interval where ``of`` is within limits: itself, or a choice's side.

        Where ``of`` is the operand times a number, as in softplus, the limits are divided by it.
        """
        low, high = self.of(atom)
        if atom != of:
            choice = self.equation(atom, "where")
            scaled = self.equation(of, "mul")
            if choice is None and scaled is not None and scaled.args[0] == atom:
                factor = scaled.args[1]
                if not isinstance(factor, Var) and factor > 0:
                    return self.within(atom, atom, (limits[0] / factor, limits[1] / factor))
            if choice is None:
                return low, high
            limits = _hull(*(self.within(side, of, limits) for side in choice.args[1:]))
        return max(low, limits[0]), min(high, limits[1])


def _unrelated(equation: Equation, known: _Known) -> None:
    return None


def _square(equation: Equation, known: _Known) -> Interval | None:
    """A square, ``x * x``."""
    x, y = equation.args
    return _magnitude(*known.of(x), power=2) if x == y else None


def _share(equation: Equation, known: _Known) -> Interval | None:
    """A part of a sum, ``x / (x + y)`` or ``x / sum(x)``, for parts of one sign."""
    x, divisor = equation.args
    spread = known.equation(divisor, "broadcast")
    total = known.equation(spread.args[0] if spread else divisor, "add", "sum")
    if total is None or x not in total.args:
        return None
    low, high = _hull(*map(known.of, total.args))
    return (0.0, 1.0) if low >= 0 or high <= 0 else None


def _choice(equation: Equation, known: _Known) -> Interval | None:
    """Either of two, by a comparison with a number: on each side less may be possible."""
    condition, *sides = equation.args
    comparison = known.equation(condition, "lt", "le", "gt", "ge")
    if comparison is None:
        return None
    of, limit = comparison.args
    if isinstance(limit, Var):
        return None
    limits: tuple[Interval, Interval] = (-math.inf, limit), (limit, math.inf)
    if comparison.op in ("gt", "ge"):
        limits = limits[1], limits[0]
    return _hull(*(known.within(s, of, m) for s, m in zip(sides, limits, strict=True)))


_RELATED: dict[str, Callable[[Equation, _Known], Interval | None]] = {
    "mul": _square,
    "div": _share,
    "where": _choice,
}
"""Where it matters that operands are related; no answer where they are not."""


def _any(*_: Interval) -> Interval:
    return ANY


def _hull(*of: Interval) -> Interval:
    return min(low for low, _ in of), max(high for _, high in of)


def _with_zero(*of: Interval) -> Interval:
    return _hull(*of, (0.0, 0.0))


def _times(a: float, b: float) -> float:
    """An end's product: an infinite end is never reached, so that zero times it is zero."""
    return 0.0 if 0.0 in (a, b) else a * b


def _mul(x: Interval, y: Interval) -> Interval:
    ends = [_times(a, b) for a in x for b in y]
    return min(ends), max(ends)


def _div(x: Interval, y: Interval) -> Interval:
    low, high = y
    return _mul(x, (1 / high, 1 / low)) if low > 0 or high < 0 else ANY


def _magnitude(low: float, high: float, power: int = 1) -> Interval:
    least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return least**power, max(abs(low), abs(high)) ** power


def _rising(function: Callable[[float], float], low: float, high: float) -> Callable[..., Interval]:
    """Of a function that never falls, with its limits at both ends."""

    def at(x: float) -> float:
        try:
            return min(max(function(x), low), high) if math.isfinite(x) else (low, high)[x > 0]
        except (OverflowError, ValueError):
            # Beyond what the function takes, or what a number holds.
            return (low, high)[x > 0]

    return lambda x: (at(x[0]), at(x[1]))


_RULES: dict[str, Callable[..., Interval]] = {
    "neg": lambda x: (-x[1], -x[0]),
    "add": lambda x, y: (x[0] + y[0], x[1] + y[1]),
    "sub": lambda x, y: (x[0] - y[1], x[1] - y[0]),
    "mul": _mul,
    "div": _div,
    "abs": lambda x: _magnitude(*x),
    "sign": _rising(lambda x: (x > 0) - (x < 0), -1, 1),
    "relu": _rising(lambda x: max(x, 0.0), 0, math.inf),
    "exp": _rising(math.exp, 0, math.inf),
    "expm1": _rising(math.expm1, -1, math.inf),
    "log1p": _rising(math.log1p, -math.inf, math.inf),
    "sqrt": _rising(math.sqrt, 0, math.inf),
    "sin": lambda x: (-1.0, 1.0),
    "cos": lambda x: (-1.0, 1.0),
    "erf": _rising(math.erf, -1, 1),
    "tanh": _rising(math.tanh, -1, 1),
    "sigmoid": _rising(lambda x: 1 / (1 + math.exp(-x)), 0, 1),
    "maximum": lambda x, y: (max(x[0], y[0]), max(x[1], y[1])),
    "minimum": lambda x, y: (min(x[0], y[0]), min(x[1], y[1])),
    "where": lambda condition, x, y: _hull(x, y),
    "detach": _hull,
    "mean": _hull,
    "amax": _hull,
    "broadcast": _hull,
    "reshape": _hull,
    "transpose": _hull,
    "slice": _hull,
    "take": _hull,
    "cat": _hull,
    "place": _with_zero,
}
"""Ops that are not here bound nothing: products, sums and what may have a pole."""
