"""Overlap: joins that have parts in common are kept over time with those parts once.

A weight's gradient is a sum over all steps of outer products, whose rows are a join of the gates'
cotangents.  Where another join that is kept over time has some of the same gates side by side,
as the two of a GRU have, which differ in the candidate alone, the gradient's rows are taken from
there, and only the other parts are kept besides.  The sums are the same; less memory lives between
the loop and its products.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from unrolled.ir import Equation, Graph, Var
from unrolled.passes.rewrite import Rewriter
from unrolled.passes.stages import stages


class _Run(NamedTuple):
    """``length`` parts of a join from ``start`` are those of ``base`` from ``at``."""

    length: int
    start: int
    base: Equation
    at: int


def share_joins(graph: Graph) -> Graph:
    """The graph with sums of outer products split where a part of their rows is kept anyway."""
    runs = _runs(graph)
    rewriter = Rewriter(graph)
    definitions = graph.definitions()
    waiting: list[Equation] = []

    def waits(equation: Equation) -> bool:
        """Whether it has to: a base may be joined later than the sum that is to read it."""
        run = runs.get(equation.inputs[0]) if equation.op == "total_outer" else None
        needed = (*equation.inputs, *(() if run is None else (run.base.out,)))
        if not all(v in rewriter.values for v in needed):
            return True
        if run is None:
            rewriter.keep(equation)
        else:
            _split(rewriter, equation, definitions, run)
        return False

    for equation in graph.equations:
        waiting = [e for e in (*waiting, equation) if waits(e)]
    while waiting:
        waiting = [e for e in waiting if waits(e)]
    return rewriter.finish()


def _runs(graph: Graph) -> dict[Var, _Run]:
    """The joins that no one needs whole after the loop, each with the longest run it shares."""
    placed = stages(graph)
    late: dict[Var, list[Equation]] = {
        e.out: [] for e in graph.equations if e.op == "cat" and _is_of_gates(e)
    }
    for equation in graph.equations:
        for var in set(equation.inputs) & late.keys():
            if placed[equation.out] == "after":
                late[var].append(equation)
    joins = [e for e in graph.equations if late.get(e.out) and e.out not in graph.results]
    found: dict[Var, _Run] = {}
    bases: set[Var] = set()
    for join in joins:
        whole = any(e.op != "total_outer" or e.inputs[1] == join.out for e in late[join.out])
        if whole or join.out in bases:
            continue
        others = [e for e in joins if e is not join and e.out not in found]
        shared = [run for other in others for run in _shared(join, other)]
        if shared:
            found[join.out] = max(shared, key=lambda run: run.length)
            bases.add(found[join.out].base.out)
    return found


def _is_of_gates(join: Equation) -> bool:
    return join["axis"] == -1 and all(len(v.shape) == 1 and v.per_step for v in join.inputs)


def _shared(join: Equation, base: Equation) -> list[_Run]:
    """All longest runs of parts that two joins have in common."""
    runs: list[_Run] = []
    for start in range(len(join.inputs)):
        for at in range(len(base.inputs)):
            length = _common(join.inputs[start:], base.inputs[at:])
            if length:
                runs.append(_Run(length, start, base, at))
    return runs


def _common(a: Sequence[Var], b: Sequence[Var]) -> int:
    same = [x == y for x, y in zip(a, b, strict=False)]
    return same.index(False) if False in same else len(same)


def _split(
    rewriter: Rewriter, equation: Equation, definitions: dict[Var, Equation], run: _Run
) -> None:
    """The sum as a join of sums: over the rows in the base, and over each other part."""
    builder, values = rewriter.builder, rewriter.values
    builder.locate = lambda: equation.location
    parts = definitions[equation.inputs[0]].inputs
    start = sum((v.shape[0] for v in run.base.inputs[: run.at]), start=parts[0].shape[0] * 0)
    stop = start + sum(
        (v.shape[0] for v in parts[run.start : run.start + run.length]), start=start * 0
    )
    rows = builder.emit("slice", values[run.base.out], axis=-1, start=start, stop=stop, step=1)
    pieces = [*(values[v] for v in parts[: run.start]), rows]
    pieces += [values[v] for v in parts[run.start + run.length :]]
    vector = values[equation.inputs[1]]
    sums = [builder.emit("total_outer", piece, vector) for piece in pieces]
    whole = builder.emit("cat", *sums, axis=-2) if len(sums) > 1 else sums[0]
    rewriter.values[equation.out] = whole
    builder.locate = lambda: None
