"""What the passes promise, seen in the plans of the textbook cells."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch

from oracle import agreement
from oracle.textbook import ALL, VARIANTS
from unrolled import cell, param
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.interpret import evaluate
from unrolled.ir import Equation, Graph, Var
from unrolled.lower import Plan, lower
from unrolled.ops import TABLE
from unrolled.passes.stages import Schedule
from unrolled.returned import unpack
from unrolled.verify import verify

LINEAR = {"mingru", "minlstm", "sru"}
TOTALS = {"total", "total_outer"}
PASSES = ("simplify", "split_concatenated", "stack", "regroup", "adjoint", "recompute")


def graph_of(c: Cell) -> Graph:
    return c.graph(c.example_sizes(), torch.float64)


def plan_of(c: Cell) -> Plan:
    graph = graph_of(c)
    return lower(graph, wrt=[v.name for v in (*graph.inputs, *graph.parameters)])


def reverse_of(plan: Plan) -> Schedule:
    assert plan.reverse is not None
    return plan.reverse


def products(equations: Iterable[Equation]) -> list[Equation]:
    return [e for e in equations if TABLE[e.op].cost == "product"]


def ops(equations: Iterable[Equation]) -> Counter[str]:
    return Counter(e.op for e in equations)


def reached(graph: Graph) -> set[Var]:
    """The states, and all that is computed from them."""
    found = set(graph.states)
    for e in graph.equations:
        if found & set(e.inputs):
            found.add(e.out)
    return found


def needed(graph: Graph) -> set[Var]:
    """The next states, and all that they are computed from."""
    found = set(graph.next_states)
    for e in reversed(graph.equations):
        if e.out in found:
            found |= set(e.inputs)
    return found


# --- hoist and sink -----------------------------------------------------------------------------


@ALL
def test_a_loop_computes_only_what_the_state_needs_and_reaches(cell: Cell) -> None:
    plan = plan_of(cell)
    for schedule in (plan.forward, reverse_of(plan)):
        graph = schedule.graph
        assert {e.out for e in schedule.loop} <= reached(graph) & needed(graph)
        assert not TOTALS & ops((*schedule.before, *schedule.loop)).keys()
        together = (*schedule.before, *schedule.loop, *schedule.after)
        assert Counter(together) == Counter(graph.equations)


def test_lstm_has_no_product_with_the_input_and_no_weight_gradient_in_a_loop() -> None:
    plan = plan_of(CELLS["lstm"])
    [x], [h, _] = plan.forward.graph.inputs, plan.forward.graph.states
    [hoisted] = products(plan.forward.before)
    [recurrent] = products(plan.forward.loop)
    assert hoisted.inputs[1] == x
    assert recurrent.inputs[1] == h
    assert not products(plan.forward.after)

    back = reverse_of(plan)
    assert not products(back.before)
    [d_recurrent] = products(back.loop)
    assert d_recurrent.out in back.graph.next_states
    assert not any(v.name == "x" for e in back.loop for v in e.inputs)
    # W_ih, W_hh and the input's cotangent: one product each, over all steps at once.
    sunk = ops(back.after)
    assert (sunk["total_outer"], sunk["matmul"]) == (2, 1)


def test_a_reset_before_the_product_keeps_two_products_in_the_loop() -> None:
    before, after = plan_of(CELLS["gru_cho"]), plan_of(CELLS["gru"])
    assert len(products(before.forward.loop)) == len(products(reverse_of(before).loop)) == 2
    assert len(products(after.forward.loop)) == len(products(reverse_of(after).loop)) == 1
    first, second = products(before.forward.loop)
    [h] = before.forward.graph.states
    assert first.inputs[1] == h
    made = before.forward.graph.definitions()
    assert h in made[second.inputs[1]].inputs
    assert made[second.inputs[1]].op == "mul"


def test_what_only_the_output_reads_leaves_the_loop() -> None:
    plan = plan_of(CELLS["elman_output"])
    assert [e.inputs[0].name for e in products(plan.forward.after)] == ["W_hy"]
    assert [e.inputs[0].name for e in products(plan.forward.loop)] == ["W_hh"]


@pytest.mark.parametrize("name", ["mingru", "minlstm", "sru", "indrnn"])
def test_a_cell_without_recurrent_products_has_none_in_a_loop(name: str) -> None:
    plan = plan_of(CELLS[name])
    assert not products(plan.forward.loop)
    assert not products(reverse_of(plan).loop)


# --- the concatenated form ----------------------------------------------------------------------


def _recurrent(x, h, *, W=param("H", "D"), U=param("H", "H"), b=param("H")):  # type: ignore[no-untyped-def]
    return torch.tanh(W @ x + U @ h + b)


def _state_first(x, h, *, W=param("H", "H+D"), b=param("H")):  # type: ignore[no-untyped-def]
    return torch.tanh(W @ torch.cat([h, x]) + b)


def _input_first(x, h, *, W=param("H", "D+H"), b=param("H")):  # type: ignore[no-untyped-def]
    return torch.tanh(torch.nn.functional.linear(torch.cat([x, h]), W, b))


PAIRS = {
    "elman": ("elman", "elman_concat"),
    "output": ("elman_output", "elman_concat_output, sigmoid"),
    "lstm": ("lstm_one_bias", "lstm_concat"),
    "gru": ("gru_cho", "gru_full"),
    "state first": (cell(_recurrent), cell(_state_first)),
    "input first": (cell(_recurrent), cell(_input_first)),
}


@pytest.mark.parametrize(("separate", "joined"), PAIRS.values(), ids=PAIRS)
def test_the_concatenated_form_has_the_loops_of_the_separate_one(
    separate: Cell | str, joined: Cell | str
) -> None:
    given = [v if isinstance(v, Cell) else VARIANTS[v] for v in (separate, joined)]
    if "output" in given[0].name:
        given[0] = given[0].bind(output="sigmoid")
    one, other = map(plan_of, given)
    assert ops(one.forward.loop) == ops(other.forward.loop)
    assert ops(reverse_of(one).loop) == ops(reverse_of(other).loop)
    for plan in (one, other):
        [hoisted] = products(plan.forward.before)
        assert hoisted.inputs[1] == plan.forward.graph.inputs[0]
    shapes = [[e.out.shape for e in products(p.forward.loop)] for p in (one, other)]
    assert shapes[0] == shapes[1]


# --- linear cells -------------------------------------------------------------------------------


@ALL
def test_the_linear_cells_and_no_others_are_recognised(cell: Cell) -> None:
    assert (plan_of(cell).linear is not None) == (cell.name in LINEAR)


def divided(x, h, *, b=param("H")):  # type: ignore[no-untyped-def]
    return -(h - b) / (1.5 + b * b) + h


def several(x, h, c, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
    v = W @ x
    return v - (2 * h - v) * v + h * v, (v - 0.5) * (c + 1) - (3 - c)


def entangled(x, h, c, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
    v = W @ x
    return h * v + 0 * c, v - c


def forgotten(x, h, c, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
    return W @ x, c


def cancelled(x, h, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
    return h - (h - W @ x)


def coupled(x, h, c, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
    return c + W @ x, h


def squared(x, h, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
    return h * h + W @ x


def mixed(x, h, *, W=param("H", "D"), U=param("H", "H")):  # type: ignore[no-untyped-def]
    return U @ h + W @ x


def inverted(x, h, *, W=param("H", "D")):  # type: ignore[no-untyped-def]
    return W @ x / h


IS_LINEAR: dict[Callable[..., Any], bool] = {
    divided: True, several: True, forgotten: True, cancelled: True,
    entangled: False, coupled: False, squared: False, mixed: False, inverted: False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("step", "linear"), IS_LINEAR.items(), ids=lambda v: getattr(v, "__name__", "")
)
def test_a_linear_form_is_found_where_there_is_one(step: Callable[..., Any], linear: bool) -> None:
    assert (plan_of(cell(step)).linear is not None) == linear


_FOUND = [CELLS[name] for name in sorted(LINEAR)] + [cell(f) for f, yes in IS_LINEAR.items() if yes]


@pytest.mark.parametrize("cell", _FOUND, ids=lambda c: c.name)
def test_the_coefficients_give_the_next_states(cell: Cell) -> None:
    """As ``a ⊙ s + b``, for states far apart, against the step itself on real tensors."""
    sizes = cell.resolve_sizes(3, 5)
    graph = cell.graph(sizes, torch.float64)
    form = lower(graph, wrt=["x"]).linear
    assert form is not None
    assert not form.coefficients.states
    for seed, scale in enumerate((1.0, 100.0, -100.0)):
        p = agreement.problem(cell, sizes, 1, 1, seed)
        x, states = p.x[0, 0], tuple(scale * s[0] for s in p.states)
        first, _, *rest = evaluate(form.coefficients, x, (), dict(p.parameters))
        found = {form.coefficients.outputs[0].name: first, **(rest[0] if rest else {})}
        _, expected, _ = unpack(cell(x, *states, **p.parameters), len(states))
        for spec, s, after in zip(cell.states, states, expected, strict=True):
            a, b = found[f"a_{spec.name}"], found[f"b_{spec.name}"]
            # Ten roundings at most on either way, none larger than that of the largest term.
            terms = 1 + a.abs() * s.abs() + 2 * s.abs() + b.abs()
            torch.testing.assert_close(
                a * s + b, after, rtol=0, atol=20 * 2**-53 * float(terms.max())
            )


# --- residuals ----------------------------------------------------------------------------------


@ALL
def test_nothing_is_stored_that_costs_nothing_to_compute_again(cell: Cell) -> None:
    plan = plan_of(cell)
    graph, back = plan.forward.graph, reverse_of(plan).graph
    made = graph.definitions()
    by_name = {v.name: v for v in made}
    stored = {v.name for v in plan.stored}
    at_hand = stored | {v.name for v in graph.sources}
    assert len(stored) == len(plan.stored)
    assert not stored & {v.name for v in graph.sources}
    assert stored <= {v.name for e in back.equations for v in e.inputs} | {
        o.var.name for o in back.outputs
    }
    for name in stored:
        equation = made[by_name[name]]
        cost = TABLE[equation.op].cost
        assert cost != "view"
        once_more = all(v.name in at_hand for v in equation.inputs)
        assert not (cost == "cheap" and equation.out.per_step and once_more), str(equation)


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("rnn", ["tanh"]),
        ("lstm", ["sigmoid", "sigmoid", "tanh", "sigmoid", "tanh"]),
        ("gru_cho", ["sigmoid", "sigmoid", "tanh"]),
        ("mingru", ["sigmoid", "add"]),
    ],
)
def test_what_is_stored_every_step(name: str, stored: list[str]) -> None:
    plan = plan_of(CELLS[name])
    made = {v.name: e.op for v, e in plan.forward.graph.definitions().items()}
    assert [made[v.name] for v in plan.stored if v.per_step] == stored


# --- well-formedness ----------------------------------------------------------------------------


@ALL
def test_every_pass_leaves_a_well_formed_graph(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = importlib.import_module("unrolled.lower")
    run: Counter[str] = Counter()

    def checked(name: str) -> Callable[..., Graph]:
        made = getattr(pipeline, name)

        def wrapper(*args: Any) -> Graph:
            for given in args:
                if isinstance(given, Graph):
                    verify(given)
            run[name] += 1
            return verify(made(*args))

        return wrapper

    for name in PASSES:
        monkeypatch.setattr(pipeline, name, checked(name))
    graph = verify(graph_of(cell))
    plan = plan_of(cell)
    assert run.keys() == set(PASSES)
    assert plan.forward.graph.name == graph.name
    if plan.linear is not None:
        verify(plan.linear.coefficients)
