"""Verification: what must hold of every Graph, checked after each pass."""

from __future__ import annotations

from unrolled.ir import Graph, Var, dtype_of, n_elements
from unrolled.ops import TABLE


def verify(graph: Graph) -> Graph:
    """``graph`` itself; ``ValueError`` with a sentence where it is not well formed."""
    known: dict[str, Var] = {}
    for var in graph.sources:
        _require(var.name not in known, f"{var.name} is defined twice")
        known[var.name] = var
    for constant in graph.constants:
        right = len(constant.data) == n_elements(constant.var.shape)
        _require(right, f"constant {constant.var} has {len(constant.data)} numbers")
    for equation in graph.equations:
        row = TABLE.get(equation.op)
        _require(row is not None, f"{equation.op} is not in the op table")
        assert row is not None
        _require(
            row.arity is None or row.arity == len(equation.args),
            f"{equation.op} takes {row.arity} operands, {equation} has {len(equation.args)}",
        )
        for arg in equation.inputs:
            _require(
                known.get(arg.name) == arg, f"{arg} is read before it is defined, in: {equation}"
            )
        _require(bool(equation.inputs), f"no variable is read in: {equation}")
        shapes = [a.shape if isinstance(a, Var) else None for a in equation.args]
        shape = tuple(row.shape(*shapes, **dict(equation.attributes)))
        _require(shape == tuple(equation.out.shape), f"the result has shape {shape} in: {equation}")
        per_step = row.cost != "total" and any(a.per_step for a in equation.inputs)
        _require(
            per_step == equation.out.per_step, f"what varies over time is wrong in: {equation}"
        )
        dtype = row.dtype(*map(dtype_of, equation.args))
        _require(dtype == equation.out.dtype, f"the result is {dtype} in: {equation}")
        _require(equation.out.name not in known, f"{equation.out.name} is defined twice")
        known[equation.out.name] = equation.out
    _require(len(graph.next_states) == len(graph.states), "states and next states differ in number")
    for var in graph.results:
        _require(known.get(var.name) == var, f"the result {var} is not defined")
    for state, after in zip(graph.states, graph.next_states, strict=True):
        _require(state.shape == after.shape, f"the state {state} is followed by {after}")
    return graph


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ValueError(sentence)
