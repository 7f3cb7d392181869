"""The textbook cells on the CPU backend: outputs and all gradients, for any T, B and sharing."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from kernel_runs import SHARING, Call, results, shared
from oracle.agreement import Problem, problem
from oracle.rounding import ROUNDINGS
from oracle.running_error import Bounds, analyse
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.ir import Graph
from unrolled.lower import lower

SIZES = {"input_size": 11, "hidden_size": 29, "P": 7, "O": 9}
"""More columns than a panel of the products has, and never a multiple of a vector's lanes."""
STEPS, BATCH = 7, 70
SHAPES = [(7, 70), (7, 17), (7, 1), (1, 13), (2, 2), (2, 5), (3, 3)]
ROUNDOFF = {torch.float64: 1.0, torch.float32: 1.001 * 2.0**29}
"""Relative to float64; the bounds are linear in it but for a part in 10^6."""


@pytest.fixture(autouse=True)
def _four_ulp(monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    """Bounds for functions that come within 4 ulp, 8 units roundoff, of the exact value."""
    for op in ROUNDINGS:
        monkeypatch.setitem(ROUNDINGS, op, 8)


def call(p: Problem, graph: Graph) -> Call:
    """The problem's tensors in numbers that single precision has, and random cotangents."""
    source = torch.Generator().manual_seed(2)

    def weights(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=source).double() - 1

    lead = p.x.shape[:2]
    d_outputs = {o.name: weights(*lead, *map(int, o.var.shape)) for o in graph.outputs}
    d_states = tuple(weights(*s.shape) for s in p.states)
    made = Call(p.x, p.states, p.parameters, d_outputs, d_states)
    return made.to(torch.float32).to(torch.float64)


def bounds(graph: Graph, c: Call) -> dict[str, Tensor]:
    """How far results may be from the exact ones, by name, in float64."""
    (d_y,) = c.d_outputs.values()
    d_states = tuple(d[None] for d in c.d_states)
    with torch.no_grad():
        found: Bounds = analyse(graph, c.x, c.states, c.parameters, d_y[:, None], d_states)
    assert not found.ambiguous
    states = [s.name for s in graph.states]
    named = {"output y": found.y}
    named.update((f"state {k}", e) for k, e in enumerate(found.states))
    named.update(
        (f"gradient of state {states.index(n)}" if n in states else f"gradient of {n}", e[0])
        for n, e in found.gradients.items()
    )
    return named


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
