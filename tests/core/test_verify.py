"""Verification finds what is not well formed, in the graphs of every pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from unrolled import lower
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.ir import Constant, Equation, Graph, Output, Var
from unrolled.passes.adjoint import adjoint
from unrolled.passes.concat import split_concatenated
from unrolled.passes.linear import linear_form
from unrolled.passes.regroup import regroup
from unrolled.passes.residuals import recompute
from unrolled.passes.simplify import simplify
from unrolled.passes.stack import stack
from unrolled.verify import verify, verify_step

x = Var("x", (3,), "input")
h = Var("h", (4,), "state")
W = Var("W", (4, 3), "parameter", per_step=False)
k = Var("k", (4,), "constant", per_step=False)
a = Var("a", (4,))
b = Var("b", (4,))
c = Var("c", (4,), dtype="bool")
w2 = Var("w2", (4, 3), per_step=False)

STEP = Graph(
    name="step",
    inputs=(x,),
    states=(h,),
    parameters=(W,),
    constants=(Constant(k, (1.0, 2.0, 3.0, 4.0)),),
    residuals=(),
    equations=(
        Equation(w2, "mul", (W, 2.0)),
        Equation(a, "matmul", (w2, x)),
        Equation(c, "gt", (h, a)),
        Equation(b, "where", (c, k, a)),
    ),
    next_states=(b,),
    outputs=(Output("y", b), Output("open", c)),
)


def with_equation(position: int, **changes: Any) -> Graph:
    equations = list(STEP.equations)
    equations[position] = replace(equations[position], **changes)
    return replace(STEP, equations=tuple(equations))


def with_var(old: Var, new: Var) -> Graph:
    """Everywhere another variable."""

    def var(v: Any) -> Any:
        return new if v == old else v

    return Graph(
        STEP.name,
        tuple(map(var, STEP.inputs)),
        tuple(map(var, STEP.states)),
        tuple(map(var, STEP.parameters)),
        tuple(replace(c, var=var(c.var)) for c in STEP.constants),
        tuple(map(var, STEP.residuals)),
        tuple(replace(e, out=var(e.out), args=tuple(map(var, e.args))) for e in STEP.equations),
        tuple(map(var, STEP.next_states)),
        tuple(replace(o, var=var(o.var)) for o in STEP.outputs),
    )


def test_a_step_that_is_well_formed() -> None:
    assert verify(STEP) is STEP
    assert verify_step(STEP) is STEP


WRONG: dict[str, tuple[Graph, str]] = {
    "an op that is none": (
        with_equation(1, op="convolve"),
        "convolve is not in the op table, in: a[4] = convolve(w2, x)",
    ),
    "an operand too few": (
        with_equation(3, args=(c, k)),
        "where takes 3 operand(s), not 2, in: b[4] = where(c, k)",
    ),
    "no operands": (with_equation(2, args=()), "gt takes 2 operand(s), not 0, in: c[4] = gt()"),
    "numbers only": (
        with_equation(2, args=(1.0, 2.0)),
        "no variable is read, in: c[4] = gt(1.0, 2.0)",
    ),
    "a number in a product": (
        with_equation(1, args=(w2, 2.0)),
        "a number has no product with a matrix, in: a[4] = matmul(w2, 2.0)",
    ),
    "an operand from later": (
        with_equation(0, args=(b, 2.0)),
        "b[4] is read before it is defined, in: w2[4, 3] = mul(b, 2.0)",
    ),
    "an operand of another shape than its definition": (
        with_equation(2, args=(replace(h, shape=(5,)), a)),
        "h[5] is read before it is defined, in: c[4] = gt(h, a)",
    ),
    "operands of different shapes": (
        with_equation(2, args=(h, x)),
        "the operands' shapes differ, in: c[4] = gt(h, x)",
    ),
    "a product that does not fit": (
        with_equation(1, args=(w2, h)),
        "the matrix's columns are not as many as the operand's rows, in: a[4] = matmul(w2, h)",
    ),
    "a result of another shape": (
        with_var(a, replace(a, shape=(3,))),
        "the result is the value a[4] at each step, not the value a[3] at each step, "
        "in: a[3] = matmul(w2, x)",
    ),
    "a result that does not vary": (
        with_var(a, replace(a, per_step=False)),
        "the result is the value a[4] at each step, not the value a[4] of the whole call, "
        "in: a[4] = matmul(w2, x)",
    ),
    "a parameter's expression that varies": (
        with_var(w2, replace(w2, per_step=True)),
        "the result is the value w2[4, 3] of the whole call, not the value w2[4, 3] at each step, "
        "in: w2[4, 3] = mul(W, 2.0)",
    ),
    "a condition among numbers": (
        with_equation(1, op="add", args=(c, 1.0)),
        "c[4] is read before it is defined, in: a[4] = add(c, 1.0)",
    ),
    "numbers as a condition": (
        with_equation(3, args=(h, k, a)),
        "where takes choice, got real, real, real, in: b[4] = where(h, k, a)",
    ),
    "a comparison that gives numbers": (
        with_var(c, replace(c, dtype="real")),
        "the result is the condition c[4] at each step, not the value c[4] at each step, "
        "in: c[4] = gt(h, a)",
    ),
    "a value that is a state": (
        with_var(a, replace(a, role="state")),
        "the result is the value a[4] at each step, not the state a[4] at each step, "
        "in: a[4] = matmul(w2, x)",
    ),
    "a value defined twice": (
        replace(STEP, equations=(*STEP.equations, STEP.equations[0])),
        "w2 is defined twice, in: w2[4, 3] = mul(W, 2.0)",
    ),
    "a value with an argument's name": (
        with_var(a, replace(a, name="h")),
        "h is defined twice, in: h[4] = matmul(w2, x)",
    ),
    "two arguments of one name": (
        replace(STEP, inputs=(replace(x, name="h"),)),
        "h is defined twice",
    ),
    "a state among the inputs": (
        replace(STEP, inputs=(x, replace(h, name="h2"))),
        "h2[4] stands among the inputs and is a state",
    ),
    "an input that does not vary": (
        with_var(x, replace(x, per_step=False)),
        "the input x[3] does not vary over time",
    ),
    "a parameter that varies": (
        with_var(W, replace(W, per_step=True)),
        "the parameter W[4, 3] varies over time",
    ),
    "a condition as a parameter": (
        with_var(W, replace(W, dtype="bool")),
        "the parameter W[4, 3] is a condition",
    ),
    "a negative length": (with_var(x, replace(x, shape=(-3,))), "x[-3] has a negative length"),
    "a constant with too few numbers": (
        replace(STEP, constants=(Constant(k, (1.0, 2.0)),)),
        "constant k[4] has 2 numbers",
    ),
    "a next state too few": (
        replace(STEP, next_states=()),
        "states and next states differ in number",
    ),
    "a next state that is nowhere": (
        replace(STEP, next_states=(replace(b, name="d"),)),
        "the result d[4] is not defined",
    ),
    "a next state of another shape": (
        replace(STEP, next_states=(x,)),
        "the state h[4] is followed by x[3]",
    ),
    "a condition as next state": (
        replace(STEP, next_states=(c,)),
        "the state h[4] is followed by c[4]",
    ),
    "an output that is nowhere": (
        replace(STEP, outputs=(Output("y", replace(b, name="d")),)),
        "the result d[4] is not defined",
    ),
    "two outputs of one name": (
        replace(STEP, outputs=(Output("y", b), Output("y", a))),
        "two outputs have one name, in: y, y",
    ),
}


@pytest.mark.parametrize("title", WRONG)
def test_what_is_not_well_formed(title: str) -> None:
    graph, message = WRONG[title]
    with pytest.raises(ValueError) as caught:
        verify(graph)
    assert str(caught.value) == message


NO_STEP: dict[str, tuple[Graph, str]] = {
    "no input": (
        Graph("idle", (), STEP.states, (), (), (), (), STEP.states, (Output("y", STEP.states[0]),)),
        "a step has an input",
    ),
    "no state": (
        replace(STEP, states=(), next_states=(), equations=STEP.equations[:2], outputs=()),
        "a step has at least one state",
    ),
    "a residual": (
        replace(STEP, residuals=(Var("r", (4,), "residual"),)),
        "a step reads no residuals",
    ),
    "no output": (replace(STEP, outputs=()), "a step's first output is y"),
    "an output before y": (
        replace(STEP, outputs=STEP.outputs[::-1]),
        "a step's first output is y",
    ),
    "a matrix as output": (replace(STEP, outputs=(Output("y", w2),)), "w2[4, 3] is no vector"),
    "a condition as output": (
        replace(STEP, outputs=(Output("y", c),)),
        "a step's output is no condition",
    ),
}


@pytest.mark.parametrize("title", NO_STEP)
def test_what_is_no_step(title: str) -> None:
    graph, message = NO_STEP[title]
    verify(graph)
    with pytest.raises(ValueError) as caught:
        verify_step(graph)
    assert str(caught.value) == message


PASSES: tuple[Callable[[Graph], Graph], ...] = (
    Graph.prune, simplify, split_concatenated, stack, simplify, regroup,
)  # fmt: skip


@pytest.mark.parametrize("textbook", CELLS.values(), ids=CELLS)
def test_every_pass_leaves_a_graph_well_formed(textbook: Cell) -> None:
    graph = verify_step(textbook.graph(textbook.example_sizes()))
    for one in PASSES:
        graph = verify(one(graph))
    back = verify(adjoint(graph, (textbook.input, *textbook.parameters)))
    back = verify(recompute(graph, back))
    for one in (simplify, stack, simplify, regroup):
        back = verify(one(back))
    linear = linear_form(graph)
    if linear is not None:
        verify(linear.coefficients)
    plan = lower(textbook.graph(textbook.example_sizes()), ("y",), tuple(textbook.parameters))
    assert plan.reverse is not None
    verify(plan.forward.graph)
    verify(plan.reverse.graph)


@pytest.mark.parametrize("textbook", CELLS.values(), ids=CELLS)
def test_simplify_and_regroup_find_no_more_the_second_time(textbook: Cell) -> None:
    graph = regroup(simplify(stack(simplify(textbook.graph(textbook.example_sizes())))))
    again = regroup(simplify(graph))
    assert len(again.equations) == len(graph.equations)


@pytest.mark.parametrize("textbook", CELLS.values(), ids=CELLS)
def test_a_schedule_computes_before_it_reads(textbook: Cell) -> None:
    plan = lower(
        textbook.graph(textbook.example_sizes()), ("y",), (textbook.input, *textbook.parameters)
    )
    assert plan.reverse is not None
    for schedule in (plan.forward, plan.reverse):
        every = (*schedule.before, *schedule.loop, *schedule.after)
        assert sorted(map(str, every)) == sorted(map(str, schedule.graph.equations))
        known = set(schedule.graph.sources)
        for equation in every:
            assert set(equation.inputs) <= known, str(equation)
            known.add(equation.out)
        late = {e.out for e in schedule.after}
        assert not late & set(schedule.graph.next_states)
