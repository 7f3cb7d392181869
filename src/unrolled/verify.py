"""Verification: what must hold of every Graph, checked after each pass."""

from __future__ import annotations

from collections.abc import Mapping

from unrolled.ir import Equation, Graph, Role, Var, dtype_of, n_elements
from unrolled.ops import TABLE


def verify(graph: Graph) -> Graph:
    """``graph`` itself; ``ValueError`` with a sentence where it is not well formed."""
    known: dict[str, Var] = {}
    for role, per_step, sources in _kinds(graph):
        for var in sources:
            _require(var.role == role, f"{var} stands among the {role}s and is a {var.role}")
            _require(
                per_step is None or var.per_step == per_step,
                f"the {role} {var} {'varies' if var.per_step else 'does not vary'} over time",
            )
            _require(var.dtype == "real" or role == "residual", f"the {role} {var} is a condition")
            _require(all(n >= 0 for n in var.shape), f"{var} has a negative length")
            _require(var.name not in known, f"{var.name} is defined twice")
            known[var.name] = var
    for constant in graph.constants:
        right = len(constant.data) == n_elements(constant.var.shape)
        _require(right, f"constant {constant.var} has {len(constant.data)} numbers")
    for equation in graph.equations:
        problem = _problem(equation, known)
        if problem is not None:
            args = ", ".join(a.name if isinstance(a, Var) else str(a) for a in equation.args)
            raise ValueError(f"{problem}, in: {equation.out} = {equation.op}({args})")
        known[equation.out.name] = equation.out
    _require(len(graph.next_states) == len(graph.states), "states and next states differ in number")
    for var in graph.results:
        _require(known.get(var.name) == var, f"the result {var} is not defined")
    for state, after in zip(graph.states, graph.next_states, strict=True):
        fits = state.shape == after.shape and after.dtype == "real"
        _require(fits, f"the state {state} is followed by {after}")
    names = [o.name for o in graph.outputs]
    _require(len(set(names)) == len(names), f"two outputs have one name, in: {', '.join(names)}")
    return graph


def _problem(equation: Equation, known: Mapping[str, Var]) -> str | None:
    """What is wrong with an equation that follows the definitions of what is known."""
    row, out = TABLE.get(equation.op), equation.out
    if row is None:
        return f"{equation.op} is not in the op table"
    if row.arity is not None and row.arity != len(equation.args):
        return f"{equation.op} takes {row.arity} operand(s), not {len(equation.args)}"
    if not equation.inputs:
        return "no variable is read"
    for arg in equation.inputs:
        if known.get(arg.name) != arg:
            return f"{arg} is read before it is defined"
    try:
        shapes = [a.shape if isinstance(a, Var) else None for a in equation.args]
        shape = tuple(row.shape(*shapes, **dict(equation.attributes)))
        dtype = row.dtype(*map(dtype_of, equation.args))
    except ValueError as error:
        return str(error)
    per_step = row.cost != "total" and any(a.per_step for a in equation.inputs)
    if out.name in known:
        return f"{out.name} is defined twice"
    wanted = Var(out.name, shape, "value", per_step, dtype)
    if out != wanted:
        return f"the result is {_described(wanted)}, not {_described(out)}"
    return None


def _described(var: Var) -> str:
    kind = "condition" if var.dtype == "bool" else "value"
    varies = "at each step" if var.per_step else "of the whole call"
    return f"the {kind if var.role == 'value' else var.role} {var} {varies}"


def verify_step(graph: Graph) -> Graph:
    """``graph`` itself; ``ValueError`` where it is not well formed, or not the step of a cell."""
    verify(graph)
    _require(bool(graph.inputs), "a step has an input")
    _require(bool(graph.states), "a step has at least one state")
    _require(not graph.residuals, "a step reads no residuals")
    _require(bool(graph.outputs) and graph.outputs[0].name == "y", "a step's first output is y")
    vectors = (*graph.inputs, *graph.states, graph.outputs[0].var)
    for var in vectors:
        _require(len(var.shape) == 1, f"{var} is no vector")
    _require(graph.outputs[0].var.dtype == "real", "a step's output is no condition")
    return graph


def _kinds(graph: Graph) -> tuple[tuple[Role, bool | None, tuple[Var, ...]], ...]:
    """Each role with whether its variables vary over time, and the variables that have it."""
    constants = tuple(c.var for c in graph.constants)
    return (
        ("input", True, graph.inputs),
        ("state", True, graph.states),
        ("parameter", False, graph.parameters),
        ("constant", False, constants),
        ("residual", None, graph.residuals),
    )


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ValueError(sentence)
