"""The textbook cells on the CPU backend: outputs and all gradients, for any T, B and sharing."""

from __future__ import annotations

import pytest
import torch

from kernel_bounds import ROUNDOFF, bounds, call
from kernel_runs import SHARING, results, shared
from oracle.agreement import problem
from oracle.rounding import ROUNDINGS
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.lower import lower

SIZES = {"input_size": 11, "hidden_size": 29, "P": 7, "O": 9}
"""More columns than a panel of the products has, and never a multiple of a vector's lanes."""
STEPS, BATCH = 7, 70
SHAPES = [(7, 70), (7, 17), (7, 1), (1, 13), (2, 2), (2, 5), (3, 3)]


@pytest.fixture(autouse=True)
def _four_ulp(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Bounds for functions that come within 4 ulp, 8 units roundoff, of the exact value."""
    for op in ROUNDINGS:
        monkeypatch.setitem(ROUNDINGS, op, 8)


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
def test_equals_the_reference(cell: Cell) -> None:
    """Every shape and sharing in float64, and in float32 against the float64 reference."""
    p = problem(cell, cell.resolve_sizes(**SIZES), STEPS, BATCH)
    graph = cell.graph(p.sizes, torch.float64).prune(("y",))
    plan = lower(graph, ("y",), [v.name for v in (*graph.inputs, *graph.parameters)])
    reference, kernel = ReferenceKernel(plan), CpuKernel(plan)
    whole = call(p, graph)
    wrong: list[str] = []
    for steps, batch in SHAPES:
        part = whole.part(steps, batch)
        expected, bound = results(reference, part), bounds(graph, part)
        assert expected.keys() == bound.keys()
        for share, threads in SHARING:
            for dtype, roundoff in ROUNDOFF.items():
                with shared(share, threads):
                    found = results(kernel, part.to(dtype))
                assert found.keys() == expected.keys()
                for name, value in found.items():
                    assert value.dtype == dtype
                    assert value.shape == expected[name].shape
                    off = (value.double() - expected[name]).abs()
                    allowed = (1 + roundoff) * bound[name]
                    if not (off <= allowed).all():
                        wrong.append(
                            f"T={steps} B={batch} {share.__name__} on {threads}, {dtype}, {name}: "
                            f"off by {float(off.max()):.3g}, "
                            f"{float((off / allowed).nan_to_num().max()):.3g} times the bound"
                        )
    assert not wrong, "\n".join(wrong)
