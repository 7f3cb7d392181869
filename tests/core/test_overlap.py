"""Joins with parts in common are kept over time with these parts once."""

from __future__ import annotations

import pytest

from unrolled.backends.cpu.place import place
from unrolled.cells import CELLS
from unrolled.ir import n_elements
from unrolled.lower import Plan, lower
from unrolled.passes.overlap import share_joins


def plan_of(name: str, *wrt: str) -> Plan:
    cell = CELLS[name]
    graph = cell.graph(cell.resolve_sizes(5, 4))
    return lower(graph, ("y",), wrt or (cell.input, *cell.parameters))


def kept(plan: Plan) -> int:
    """How many numbers of one example the reverse loop keeps at every step, on the CPU backend."""
    assert plan.reverse is not None
    return sum(n_elements(v.shape) for v in place(plan.reverse, ()).written)


@pytest.mark.parametrize(
    ("name", "numbers"), [("rnn", 4), ("lstm", 16), ("gru", 16), ("gru_cho", 20)]
)
def test_what_is_kept_between_the_loop_and_its_products(name: str, numbers: int) -> None:
    """A GRU's candidate has two; Cho's also keeps ``r * h``, and its candidate by itself."""
    assert kept(plan_of(name)) == numbers


def test_where_the_input_has_no_gradient() -> None:
    assert kept(plan_of("gru", *CELLS["gru"].parameters)) == 16


def test_the_sum_is_a_join_of_sums_of_the_same_rows() -> None:
    plan = plan_of("gru")
    assert plan.reverse is not None
    graph = plan.reverse.graph
    made = graph.definitions()
    (d_W_hh,) = [o.var for o in graph.outputs if o.name == "W_hh"]
    join = made[d_W_hh]
    assert (join.op, join["axis"]) == ("cat", -2)
    rows, candidate = (made[v] for v in join.inputs)
    cut = made[rows.inputs[0]]
    assert (cut.op, cut["start"], cut["stop"]) == ("slice", 0, 8)
    assert [made[v].out.shape for v in made[cut.inputs[0]].inputs] == [(4,)] * 3
    assert candidate.inputs[1] == rows.inputs[1]


@pytest.mark.parametrize("name", ["rnn", "lstm", "mgu"])
def test_other_plans_stay_as_they_are(name: str) -> None:
    plan = plan_of(name)
    assert plan.reverse is not None
    assert str(share_joins(plan.reverse.graph)) == str(plan.reverse.graph)
