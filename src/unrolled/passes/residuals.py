"""Residuals: which forward values the reverse loop reads, and which of them are worth keeping.

A value that a loop computes and the reverse step reads must be stored for every time step, or
computed again.  Views are always computed again, for they cost nothing.  One-flop ops (``cheap``
in the op table) are computed again where all their operands are at hand anyway, since a flop
costs less than a [T, B, H] buffer.  What calls a function or is a product is stored.  After
Griewank & Walther (2008, ch. 12), with the choice made equation by equation.
"""

from __future__ import annotations

from dataclasses import replace

from unrolled.builder import Builder
from unrolled.ir import Atom, Graph, Var
from unrolled.ops import TABLE


def recompute(forward: Graph, reverse: Graph) -> Graph:
    """``reverse`` with the cheap ones of its residuals computed from the others."""
    stored = {v.name for v in reverse.residuals}
    at_hand = {v.name for v in forward.sources}
    again: list[int] = []
    for k in range(len(forward.equations) - 1, -1, -1):
        equation = forward.equations[k]
        if equation.out.name not in stored:
            continue
        cost = TABLE[equation.op].cost
        ready = all(v.name in stored or v.name in at_hand for v in equation.inputs)
        if cost == "view" or (cost == "cheap" and ready and equation.out.per_step):
            again.append(k)
            stored.update(v.name for v in equation.inputs)
    chosen = [forward.equations[k] for k in sorted(again)]
    computed = {e.out.name for e in chosen}
    names = stored - computed

    every = (*forward.sources, *(e.out for e in forward.equations))
    kept = {v.name: _as_residual(v) for v in every if v.name in names}
    taken = {v.name for v in (*reverse.sources, *(e.out for e in reverse.equations))} | set(kept)
    builder = Builder(taken - computed)
    values: dict[str, Var] = dict(kept)
    for equation in chosen:
        args: tuple[Atom, ...] = tuple(
            values[a.name] if isinstance(a, Var) else a for a in equation.args
        )
        values[equation.out.name] = builder.copy(equation, args)

    def atom(value: Atom) -> Atom:
        is_residual = isinstance(value, Var) and value.role == "residual"
        return values[value.name] if is_residual else value  # type: ignore[union-attr]

    equations = tuple(replace(e, args=tuple(map(atom, e.args))) for e in reverse.equations)
    return replace(
        reverse, residuals=tuple(kept.values()), equations=(*builder.equations, *equations)
    ).prune()


def _as_residual(var: Var) -> Var:
    return Var(var.name, var.shape, "residual", var.per_step, var.dtype)
