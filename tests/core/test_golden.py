"""Graph, Plan and LaTeX of each textbook cell are what stands in ``tests/golden/cells``.

The plan is for all gradients: of the input, the initial states and every parameter.  The texts
leave out source lines, which move with every edit of a cell (``test_trace.py`` holds those).  After
a change of the compiler or of a cell::

    pytest tests/core/test_golden.py --update-golden
    git diff tests/golden

and read: is nothing in a loop that need not be, is nothing stored that need not be?
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from unrolled import lower
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.ir import Graph
from unrolled.lower import Plan

FOLDER = Path(__file__).parent.parent / "golden" / "cells"
ALL = pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)


def without_lines(graph: Graph) -> Graph:
    return replace(graph, equations=tuple(replace(e, location=None) for e in graph.equations))


def graph_of(cell: Cell) -> Graph:
    return without_lines(cell.graph(cell.example_sizes()))


def plan_of(cell: Cell) -> Plan:
    return lower(graph_of(cell), ("y",), (cell.input, *cell.parameters))


def text_of(cell: Cell) -> str:
    return f"{graph_of(cell)}\n\n\n{plan_of(cell)}\n\n\n{cell.latex()}\n"


@ALL
def test_text(cell: Cell, request: pytest.FixtureRequest) -> None:
    path = FOLDER / f"{cell.name}.txt"
    if request.config.getoption("--update-golden"):
        path.write_text(text_of(cell), "utf-8")
    assert text_of(cell) == path.read_text("utf-8"), "see the first lines of this test's file"


def test_no_file_is_left_over() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == set(CELLS)


@ALL
def test_no_product_that_the_state_does_not_reach_is_in_a_loop(cell: Cell) -> None:
    plan = plan_of(cell)
    assert plan.reverse is not None
    for schedule in (plan.forward, plan.reverse):
        reached = set(schedule.graph.states)
        for equation in schedule.loop:
            reached_here = any(v in reached for v in equation.inputs)
            assert reached_here or equation.op != "matmul", str(equation)
            reached.add(equation.out)


@ALL
def test_no_input_product_stays_in_the_forward_loop(cell: Cell) -> None:
    forward = plan_of(cell).forward
    [x] = forward.graph.inputs
    assert not [e for e in forward.loop if e.op == "matmul" and x in e.inputs]


@ALL
def test_no_gradient_of_a_parameter_or_the_input_is_made_in_the_reverse_loop(cell: Cell) -> None:
    reverse = plan_of(cell).reverse
    assert reverse is not None
    carried = set(reverse.graph.next_states)
    for output in reverse.graph.outputs:
        assert output.var in carried or output.var not in {e.out for e in reverse.loop}
    assert not [e for e in reverse.loop if e.op in ("total", "total_outer")]


def products_in_a_row(cell: Cell) -> int:
    """How many products of a loop's step wait for one another."""
    depth = dict.fromkeys(plan_of(cell).forward.graph.states, 0)
    for e in plan_of(cell).forward.loop:
        depth[e.out] = max((depth.get(v, 0) for v in e.inputs), default=0) + (e.op == "matmul")
    return max(depth.values())


@pytest.mark.parametrize(
    ("name", "stages", "products"),
    [
        ("elman", 1, 1),
        ("lstm", 1, 1),
        ("lstm_concat", 1, 1),
        ("lstm_peephole", 1, 1),
        ("gru", 1, 1),
        ("gru_cho", 2, 2),
        ("gru_full", 2, 2),
        ("lstm_projected", 2, 2),
        ("indrnn", 0, 0),
        ("sru", 0, 0),
        ("mingru", 0, 0),
    ],
)
def test_products_are_stacked_into_stages(name: str, stages: int, products: int) -> None:
    cell = CELLS[name]
    loop = plan_of(cell).forward.loop
    assert products_in_a_row(cell) == stages
    assert sum(e.op == "matmul" for e in loop) == products


def test_an_outputs_product_comes_after_the_loop() -> None:
    cell = CELLS["elman_output"]
    forward = plan_of(cell).forward
    [product] = [e for e in forward.after if e.op == "matmul"]
    assert product.inputs[0].name == "W_hy"


def test_linear_cells_are_recognised() -> None:
    linear = {name for name, cell in CELLS.items() if plan_of(cell).linear is not None}
    assert linear == {"mingru", "minlstm", "sru"}


@ALL
def test_what_is_stored_is_read(cell: Cell) -> None:
    plan = plan_of(cell)
    assert plan.reverse is not None
    read = {v.name for e in plan.reverse.graph.equations for v in e.inputs}
    read |= {v.name for v in plan.reverse.graph.results}
    assert {v.name for v in plan.stored} <= read
    made = {e.out.name for e in plan.forward.graph.equations}
    assert {v.name for v in plan.stored} <= made


@ALL
def test_nothing_is_stored_at_each_step_that_can_be_had_again(cell: Cell) -> None:
    """A view, and what only adds and multiplies stored values, is computed again."""
    plan = plan_of(cell)
    made = plan.forward.graph.definitions()
    at_hand = {v.name for v in plan.stored} | {v.name for v in plan.forward.graph.sources}
    for var in (v for v in plan.stored if v.per_step):
        equation = next(e for v, e in made.items() if v.name == var.name)
        cheap = equation.op in ("add", "sub", "mul", "neg", "slice", "broadcast", "reshape", "cat")
        assert not (cheap and {v.name for v in equation.inputs} <= at_hand), str(equation)
