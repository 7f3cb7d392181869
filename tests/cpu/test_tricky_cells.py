"""Cells made to be hard for the CPU backend equal the reference, however the work is shared."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernel_runs import SHARING, Call, results, shared
from oracle.agreement import problem
from tricky_cells import HIDDEN_SIZE, INPUT_SIZE, OTHER_SIZES, TRICKY
from unrolled import naive
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.cpu.place import place
from unrolled.backends.cpu.spelling import SPELLING
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell
from unrolled.ir import Graph
from unrolled.lower import Plan, lower
from unrolled.ops import TABLE

STEPS, BATCH = 7, 17
SHAPES = [(1, 1), (2, 17), (7, 5)]


def cases(cell: Cell) -> tuple[Graph, Plan, Call]:
    """The cell with all its outputs, lowered for all its gradients, and a random call."""
    p = problem(cell, cell.resolve_sizes(INPUT_SIZE, HIDDEN_SIZE, **OTHER_SIZES), STEPS, BATCH)
    graph = cell.graph(p.sizes, torch.float64)
    wrt = [v.name for v in (*graph.inputs, *graph.parameters)]
    plan = lower(graph, [o.name for o in graph.outputs], wrt)
    source = torch.Generator().manual_seed(3)

    def weights(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=source, dtype=torch.float64)

    d_outputs = {o.name: weights(STEPS, BATCH, *map(int, o.var.shape)) for o in graph.outputs}
    d_states = tuple(weights(*s.shape) for s in p.states)
    return graph, plan, Call(p.x, p.states, p.parameters, d_outputs, d_states)


@pytest.mark.parametrize("cell", TRICKY.values(), ids=TRICKY)
def test_equals_the_reference(cell: Cell) -> None:
    _, plan, whole = cases(cell)
    reference, kernel = ReferenceKernel(plan), CpuKernel(plan)
    y, states = naive.recurrence(cell, whole.x, whole.states, whole.parameters)
    expected = results(reference, whole)
    torch.testing.assert_close(expected["output y"], y, rtol=1e-12, atol=1e-12)
    for k, state in enumerate(states):
        torch.testing.assert_close(expected[f"state {k}"], state, rtol=1e-12, atol=1e-12)
    for steps, batch in SHAPES:
        part = whole.part(steps, batch)
        expected = results(reference, part)
        for share, threads in SHARING:
            with shared(share, threads):
                found = results(kernel, part)
            assert found.keys() == expected.keys()
            for name, value in found.items():
                torch.testing.assert_close(
                    value, expected[name], rtol=1e-11, atol=1e-11, equal_nan=True,
                    msg=lambda text, n=name, s=share, t=threads, at=(steps, batch): (
                        f"{n} at T, B = {at}, {s.__name__} on {t}: {text}"
                    ),
                )  # fmt: skip


def test_every_op_is_in_a_loop() -> None:
    """Ops of the table that no loop of these cells has would be untried here."""
    seen: set[str] = set()
    for cell in TRICKY.values():
        _, plan, _ = cases(cell)
        assert plan.reverse is not None
        for schedule in (plan.forward, plan.reverse):
            placement = place(schedule, ())
            seen |= {e.op for e in (*placement.loop, *placement.totals)}
    assert TABLE.keys() - seen == {"total_outer"}
    assert seen >= SPELLING.keys()
