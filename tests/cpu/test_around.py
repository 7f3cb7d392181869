"""Which equations outside a loop are jobs, and which are calls to torch."""

from __future__ import annotations

import torch
from torch import Tensor, relu, tanh

from unrolled import cell, param
from unrolled.backends.cpu.around import Around, around
from unrolled.backends.cpu.place import place
from unrolled.cell import Cell
from unrolled.cells import gru
from unrolled.lower import lower


@cell
def embeds_twice(x: Tensor, h: Tensor, *, E=param("H", "D"), W=param("H", "H"), U=param("H", "H")):
    return tanh(W @ relu(E @ x) + U @ h)


def around_of(of: Cell, backwards: bool) -> Around:
    sizes = of.resolve_sizes(3, 4)
    graph = of.graph(sizes, torch.float32)
    plan = lower(graph, ("y",), (of.input, *of.parameters))
    assert plan.reverse is not None
    residuals = {v.name for v in plan.reverse.graph.residuals}
    schedule = plan.reverse if backwards else plan.forward
    outputs = {o.var.name for o in schedule.graph.outputs}
    wanted = outputs if backwards else outputs | residuals
    return around(place(schedule, () if backwards else residuals), wanted)


def ops(equations: tuple[object, ...]) -> list[str]:
    return [e.op for e in equations]  # type: ignore[attr-defined]


def test_a_grus_products_are_jobs_and_their_parts_addresses() -> None:
    forward, backward = around_of(gru, False), around_of(gru, True)
    assert ops(forward.before) == ["matmul"]
    assert (forward.first, forward.after, forward.last) == ((), (), ())
    assert (forward.joins, forward.parts) == ({}, {})
    assert ops(backward.first) == ["transpose", "transpose"]
    assert sorted(ops(backward.after)) == ["matmul"] + 3 * ["total_outer"]
    # The gates' cotangents are read in part; two sums are one matrix; biases are torch's to join.
    assert ops(tuple(backward.parts.values())) == ["slice"]
    assert [len(parts) for parts in backward.joins.values()] == [2]
    assert set(ops(backward.last)) == {"cat"}


def test_a_product_that_torch_reads_is_torchs_turn() -> None:
    """What is computed of a product before another product: jobs run after all calls to torch."""
    forward = around_of(embeds_twice, False)
    assert ops(forward.first) == ["matmul", "relu"]
    assert ops(forward.before) == ["matmul"]


def test_what_torch_computes_after_the_loop_is_no_jobs_operand() -> None:
    backward = around_of(embeds_twice, True)
    late = {e.out for e in backward.last}
    assert late
    assert not any(v in late for e in backward.after for v in e.inputs)
    assert backward.read_by_torch
