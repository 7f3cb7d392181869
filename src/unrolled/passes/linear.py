"""Linear cells: where a state's update is ``a ⊙ s + b`` with ``a`` and ``b`` free of the state.

Such a recurrence is associative, so that a backend may run it as a parallel scan (Blelloch 1990;
Martin & Cundy 2018) instead of a loop.  The pass carries the pair ``(a, b)`` of each value through
the step; an op that leaves the affine elementwise form ends the search.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import add, mul, truediv

from unrolled.builder import Builder
from unrolled.ir import Atom, Equation, Graph, Output, Var, n_elements
from unrolled.passes.stages import Schedule


@dataclass(frozen=True)
class LinearForm:
    """The coefficients of every state's update, as a graph without states.

    Its outputs are ``a_s`` and ``b_s`` for each state ``s``: ``s_t = a_s ⊙ s_{t-1} + b_s``.
    """

    coefficients: Graph
    states: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(f"{s} <- a_{s} * {s} + b_{s}" for s in self.states)


@dataclass(frozen=True)
class _Affine:
    """``scale ⊙ state + shift``; ``None`` is a scale of 1 or a shift of 0."""

    state: Var
    scale: Atom | None
    shift: Atom | None


def linear_form(graph: Graph) -> LinearForm | None:
    """The linear form of the step, or ``None`` where a next state is not one."""
    if not graph.states:
        return None
    builder = Builder(v.name for v in graph.sources)
    forms: dict[Var, _Affine] = {s: _Affine(s, None, None) for s in graph.states}
    free: dict[Var, Atom] = {v: v for v in graph.sources if v not in graph.states}
    for equation in graph.equations:
        if all(v in free for v in equation.inputs):
            free[equation.out] = builder.copy(equation, _args(equation, free))
        else:
            form = _step(builder, equation, forms, free)
            if form is not None:
                forms[equation.out] = form
    outputs: list[Output] = []
    for state, after in zip(graph.states, graph.next_states, strict=True):
        form = forms.get(after)
        if after in free:
            form = _Affine(state, 0.0, free[after])
        if form is None or form.state != state:
            return None
        outputs.append(Output(f"a_{state.name}", _filled(builder, state, form.scale, 1.0)))
        outputs.append(Output(f"b_{state.name}", _filled(builder, state, form.shift, 0.0)))
    coefficients = Graph(
        f"{graph.name}, linear", graph.inputs, (), graph.parameters,
        (*graph.constants, *builder.constants), graph.residuals, tuple(builder.equations), (),
        tuple(outputs),
    ).prune()  # fmt: skip
    return LinearForm(coefficients, tuple(s.name for s in graph.states))


def loop_form(schedule: Schedule) -> LinearForm | None:
    """The same of a schedule's loop, from the values that its other stages have computed.

    They are the residuals of ``coefficients``, which hence repeats none of their work.
    """
    graph = schedule.graph
    made = {e.out for e in schedule.loop}
    read = dict.fromkeys((*schedule.reads("loop"), *graph.next_states))
    given = tuple(v for v in read if v not in made and v not in graph.states)
    loop = Graph(
        graph.name, (), graph.states, (), (), given, schedule.loop, graph.next_states, ()
    )  # fmt: skip
    return linear_form(loop)


def _args(equation: Equation, free: dict[Var, Atom]) -> tuple[Atom, ...]:
    return tuple(free[a] if isinstance(a, Var) else a for a in equation.args)


def _step(
    b: Builder, equation: Equation, forms: dict[Var, _Affine], free: dict[Var, Atom]
) -> _Affine | None:
    """The affine form of an equation that reads at least one value a state reaches."""

    def form(a: Atom) -> _Affine | None:
        return forms.get(a) if isinstance(a, Var) else None

    def known(a: Atom) -> Atom | None:
        return free.get(a) if isinstance(a, Var) else a

    x, y = (*equation.args, None)[:2] if len(equation.args) < 3 else (None, None)
    if x is None:
        return None
    fx, fy = form(x), form(y) if y is not None else None
    kx, ky = known(x), known(y) if y is not None else None
    match equation.op:
        case "neg" if fx:
            return _Affine(fx.state, _mul(b, fx.scale, -1.0), _mul(b, fx.shift, -1.0, absent=None))
        case "add" if fx and ky is not None:
            return _Affine(fx.state, fx.scale, _add(b, fx.shift, ky))
        case "add" if fy and kx is not None:
            return _Affine(fy.state, fy.scale, _add(b, fy.shift, kx))
        case "add" if fx and fy and fx.state == fy.state:
            return _Affine(fx.state, _plus(b, fx.scale, fy.scale), _add(b, fx.shift, fy.shift))
        case "sub" if fx and ky is not None:
            return _Affine(fx.state, fx.scale, _add(b, fx.shift, _mul(b, ky, -1.0)))
        case "sub" if fy and kx is not None:
            shift = _add(b, kx, _mul(b, fy.shift, -1.0, absent=None))
            return _Affine(fy.state, _mul(b, fy.scale, -1.0), shift)
        case "sub" if fx and fy and fx.state == fy.state:
            scale = _plus(b, fx.scale, _mul(b, fy.scale, -1.0))
            return _Affine(fx.state, scale, _add(b, fx.shift, _mul(b, fy.shift, -1.0, absent=None)))
        case "mul" if fx and ky is not None:
            return _Affine(fx.state, _mul(b, fx.scale, ky), _mul(b, fx.shift, ky, absent=None))
        case "mul" if fy and kx is not None:
            return _Affine(fy.state, _mul(b, fy.scale, kx), _mul(b, fy.shift, kx, absent=None))
        case "div" if fx and ky is not None and ky != 0.0:
            inverse = _emit(b, "div", 1.0, ky)
            return _Affine(
                fx.state, _mul(b, fx.scale, inverse), _mul(b, fx.shift, inverse, absent=None)
            )
        case _:
            return None


def _emit(b: Builder, op: str, x: Atom, y: Atom) -> Atom:
    if isinstance(x, Var) or isinstance(y, Var):
        return b.emit(op, x, y)
    return {"add": add, "mul": mul, "div": truediv}[op](x, y)


def _mul(b: Builder, value: Atom | None, factor: Atom, absent: float | None = 1.0) -> Atom | None:
    """``value * factor``; no value means ``absent``: 1 for a scale, nothing for a shift."""
    if value is None:
        return None if absent is None else factor
    return _emit(b, "mul", value, factor)


def _add(b: Builder, x: Atom | None, y: Atom | None) -> Atom | None:
    if x is None or y is None:
        return y if x is None else x
    return _emit(b, "add", x, y)


def _plus(b: Builder, x: Atom | None, y: Atom | None) -> Atom:
    return _emit(b, "add", 1.0 if x is None else x, 1.0 if y is None else y)


def _filled(b: Builder, state: Var, value: Atom | None, default: float) -> Var:
    """A coefficient as a vector."""
    number = default if value is None else value
    if isinstance(number, Var):
        return number
    return b.constant([number] * n_elements(state.shape), tuple(state.shape))
