"""Runs cells with generated code that AddressSanitizer and UndefinedBehaviorSanitizer check.

A program: both sanitizers must be loaded before anything else, so they are preloaded into a new
interpreter (``LD_PRELOAD``).  Tensors lie in memory of their exact sizes, with no-go areas around,
and so do the areas of a call's workspace, between which gaps are poisoned.  Whatever generated code
or the products read or write beside them is reported, and ends the process.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace
from typing import Any

import torch

from kernel_runs import Call, blocks_of_three, columns, results, rows, shared
from oracle.agreement import problem
from tricky_cells import HIDDEN_SIZE, INPUT_SIZE, OTHER_SIZES, TRICKY
from uneven_calls import Uneven, packed_results
from unrolled.backends.cpu import build, loop, sequences
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.cpu.loop import Loop, Workspace
from unrolled.backends.cpu.products import aligned
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.lower import lower

SANITIZERS = "address,undefined,float-cast-overflow"
OTHERS = {**OTHER_SIZES, "P": 17, "O": 9}
STEPS, BATCH = 3, 5
PLAN = Loop.workspace
GAP = 64
"""How many numbers between two areas of a workspace nobody may touch."""


def run(cell: Cell, dtype: torch.dtype) -> None:
    """All gradients, in all ways to share the work, uneven too; and with numbers that are none."""
    p = problem(cell, cell.resolve_sizes(INPUT_SIZE, HIDDEN_SIZE, **OTHERS), STEPS, BATCH)
    graph = cell.graph(p.sizes, dtype)
    wrt = [v.name for v in (*graph.inputs, *graph.parameters)]
    plan = lower(graph, [o.name for o in graph.outputs], wrt)
    d_outputs = {o.name: torch.ones(STEPS, BATCH, *map(int, o.var.shape)) for o in graph.outputs}
    call = Call(p.x, p.states, p.parameters, d_outputs, p.states).to(dtype)
    expected, kernel = results(ReferenceKernel(plan), call), CpuKernel(plan)
    tolerance = 1e-3 if dtype is torch.float32 else 1e-10
    for share, threads in ((rows, 1), (blocks_of_three, 2), (columns, 2)):
        with shared(share, threads):
            for name, value in results(kernel, call).items():
                torch.testing.assert_close(
                    value, expected[name], rtol=tolerance, atol=tolerance, equal_nan=True
                )
    resets = torch.arange(STEPS * BATCH).reshape(STEPS, BATCH) % 4 == 1
    for reverse, share, threads in ((False, rows, 2), (True, columns, 2)):
        uneven = Uneven(call, torch.tensor([2, 3, 0, 3, 1]), resets, call.d_states, reverse)
        expected = packed_results(ReferenceKernel(plan), uneven)
        with shared(share, threads):
            for name, value in packed_results(kernel, uneven).items():
                torch.testing.assert_close(
                    value, expected[name], rtol=tolerance, atol=tolerance, equal_nan=True
                )
    for odd in (float("nan"), float("inf"), -float("inf"), 1e-40, 1e30):
        results(kernel, replace(call, x=torch.full_like(call.x, odd)))


def main(names: list[str]) -> None:
    """Cells in either precision by turns; ``overflow``, ``undefined`` and ``beside`` are faults."""
    build.FLAGS = (
        *(f for f in build.FLAGS if f != "-O3"), "-O1", "-g", f"-fsanitize={SANITIZERS}",
        "-fno-sanitize-recover=all",
    )  # fmt: skip
    guard()
    for k, name in enumerate(names):
        if name in ("overflow", "undefined"):
            _fault(name)
        if name == "beside":
            guard(cut=GAP)
            name = "lstm"
        cell = TRICKY[name] if name in TRICKY else CELLS[name]
        run(cell, (torch.float32, torch.float64)[k % 2])
        print(name, flush=True)


class _Guarded:
    """Workspaces whose areas lie apart, with poison between them; ``cut`` off the end of each."""

    def __init__(self, cut: int) -> None:
        self._cut = cut
        self._poison = ctypes.CDLL(None)["__asan_poison_memory_region"]
        self._poison.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        self._areas: dict[int, tuple[tuple[int, int], ...]] = {}

    def plan(self, of: Loop, *call: Any) -> Workspace:
        """The workspace of a call, its areas apart; each plan has a size that no other has."""
        found = PLAN(of, *call)
        areas = tuple((start + k * GAP, n) for k, (start, n) in enumerate(found.areas))
        size = found.size + GAP * len(areas) + len(self._areas)
        assert size not in self._areas
        self._areas[size] = areas
        return replace(found, size=size, areas=areas)

    def workspace(self, n: int, dtype: torch.dtype) -> torch.Tensor:
        """Memory of its own, as a pool is asked for it."""
        return torch.empty(n, dtype=dtype)

    def empty(self, shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """The same for what outlives the call."""
        return torch.empty(shape, dtype=dtype)

    def aligned(self, memory: torch.Tensor) -> int:
        """Where a workspace begins, once its gaps are poisoned."""
        begin, size = aligned(memory), memory.element_size()
        for start, n in self._areas[memory.numel()]:
            self._poison(begin + (start + n - self._cut) * size, (GAP + self._cut) * size)
        return begin


def guard(cut: int = 0) -> None:
    """Have all calls from now on run in guarded workspaces."""
    guarded = _Guarded(cut)
    Loop.workspace = lambda self, *call: guarded.plan(self, *call)  # type: ignore[method-assign]
    loop.POOL, loop.aligned = guarded, guarded.aligned  # type: ignore[assignment]
    sequences.POOL = guarded  # type: ignore[assignment]


def _fault(name: str) -> None:
    statement = {"overflow": "x[n] = 1;", "undefined": "x[0] = (int)1 << (int)(n + 28);"}[name]
    library = build.load(f"void fault(double *x, long n) {{ {statement} }}", {})
    x = torch.zeros(4, dtype=torch.float64)
    library.fault(ctypes.c_void_p(x.data_ptr()), ctypes.c_long(4))


if __name__ == "__main__":
    main(sys.argv[1:])
