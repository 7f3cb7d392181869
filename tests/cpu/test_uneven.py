"""Lengths and resets in both directions, in every kernel, against each stretch of steps alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernel_bounds import ROUNDOFF, call
from kernel_runs import SHARING, shared
from oracle.agreement import problem
from oracle.rounding import ROUNDINGS
from tricky_cells import HIDDEN_SIZE, INPUT_SIZE, OTHER_SIZES, TRICKY
from uneven_calls import Uneven, in_stretches, packed_results
from unrolled.backends.checkpointed import Checkpointed
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.lower import Plan, lower

STEPS = 6
LENGTHS = torch.tensor([4, 0, 6, 1, 6, 3, 2])
"""Unsorted, with a sequence of no step, one of a single step, and several of all."""
SIZES = {"input_size": 5, "hidden_size": 19, "P": 7, "O": 4}


@pytest.fixture(autouse=True)
def _four_ulp(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Bounds for functions that come within 4 ulp, 8 units roundoff, of the exact value."""
    for op in ROUNDINGS:
        monkeypatch.setitem(ROUNDINGS, op, 8)


def uneven(cell: Cell, with_lengths: bool, with_resets: bool, reverse: bool) -> tuple[Uneven, Plan]:
    """A random call of a cell, and its plan for all gradients."""
    p = problem(cell, cell.resolve_sizes(**SIZES), STEPS, len(LENGTHS))
    graph = cell.graph(p.sizes, torch.float64).prune(("y",))
    plan = lower(graph, ("y",), [v.name for v in (*graph.inputs, *graph.parameters)])
    source = torch.Generator().manual_seed(3)
    resets = torch.rand(STEPS, len(LENGTHS), generator=source) < 0.3
    fresh = tuple(torch.rand(s.shape, generator=source).double() - 0.5 for s in p.states)
    return Uneven(
        call(p, graph),
        LENGTHS if with_lengths else None,
        resets if with_resets else None,
        fresh,
        reverse,
    ), plan


FORMS = {
    "both": (True, True, False),
    "both-reverse": (True, True, True),
    "lengths": (True, False, False),
    "lengths-reverse": (True, False, True),
    "resets": (False, True, False),
    "reverse": (False, False, True),
}
"""With lengths, with resets, in reverse."""
IN_ALL_FORMS = ("gru", "lstm", "lstm_projected", "elman_output", "mingru")
CASES = [(name, form) for name in CELLS for form in FORMS if name in IN_ALL_FORMS or "both" in form]


def compare(
    name: str,
    found: dict[str, Tensor],
    expected: dict[str, tuple[Tensor, Tensor]],
    roundoff: float,
) -> list[str]:
    """What is further from the results of the stretches than both may be from the exact ones."""
    assert found.keys() == expected.keys()
    wrong: list[str] = []
    for what, (value, bound) in expected.items():
        assert found[what].shape == value.shape
        off = (found[what].double() - value).abs()
        if not (off <= (1 + roundoff) * bound).all():
            wrong.append(f"{name}, {what}: off by {float(off.max()):.3g}")
    return wrong


@pytest.mark.parametrize(("name", "form"), CASES)
def test_equals_each_stretch_alone(name: str, form: str) -> None:
    """The reference, the CPU in all ways to share its work and both precisions, checkpointed."""
    u, plan = uneven(CELLS[name], *FORMS[form])
    expected = in_stretches(u, ReferenceKernel(plan), plan.forward.graph)
    wrong = compare("reference", packed_results(ReferenceKernel(plan), u), expected, 1.0)
    kernel = CpuKernel(plan)
    for share, threads in SHARING:
        for dtype, roundoff in ROUNDOFF.items():
            with shared(share, threads):
                found = packed_results(kernel, u.to(dtype))
            named = f"cpu, {share.__name__} on {threads}, {dtype}"
            wrong += compare(named, found, expected, roundoff)
    kept = packed_results(Checkpointed(kernel, plan, 4), u)
    wrong += compare("checkpointed", kept, expected, 1.0)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", TRICKY)
def test_tricky_cells_equal_the_reference(name: str) -> None:
    """Whatever a loop's states may be: other values' parts, inputs, constants, each other."""
    cell = TRICKY[name]
    p = problem(cell, cell.resolve_sizes(INPUT_SIZE, HIDDEN_SIZE, **OTHER_SIZES), STEPS, 5)
    graph = cell.graph(p.sizes, torch.float64).prune(("y",))
    plan = lower(graph, ("y",), [v.name for v in (*graph.inputs, *graph.parameters)])
    source = torch.Generator().manual_seed(3)
    for reverse in (False, True):
        u = Uneven(
            call(p, graph),
            torch.tensor([4, 0, 6, 1, 6]),
            torch.rand(STEPS, 5, generator=source) < 0.3,
            tuple(torch.rand(s.shape, generator=source).double() - 0.5 for s in p.states),
            reverse,
        )
        expected = packed_results(ReferenceKernel(plan), u)
        kernel = CpuKernel(plan)
        for share, threads in SHARING:
            with shared(share, threads):
                found = packed_results(kernel, u)
            for what, value in expected.items():
                torch.testing.assert_close(
                    found[what], value, rtol=1e-9, atol=1e-9, msg=f"{what}, reverse={reverse}"
                )
