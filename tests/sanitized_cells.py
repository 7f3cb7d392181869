"""Runs cells with generated code that AddressSanitizer and UndefinedBehaviorSanitizer check.

A program: both sanitizers must be loaded before anything else, so they are preloaded into a new
interpreter (``LD_PRELOAD``).  Tensors lie in memory of their exact sizes, with no-go areas around,
so whatever generated code or the products read or write beside them is reported, and ends the
process.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import replace

import torch

from kernel_runs import Call, blocks_of_three, columns, results, rows, shared
from oracle.agreement import problem
from tricky_cells import HIDDEN_SIZE, INPUT_SIZE, OTHER_SIZES, TRICKY
from unrolled.backends.cpu import build
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.lower import lower

SANITIZERS = "address,undefined,float-cast-overflow"
OTHERS = {**OTHER_SIZES, "P": 17, "O": 9}
STEPS, BATCH = 3, 5


def run(cell: Cell, dtype: torch.dtype) -> None:
    """All gradients, in all ways to share the work; and with numbers that are none."""
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
    for odd in (float("nan"), float("inf"), -float("inf"), 1e-40, 1e30):
        results(kernel, replace(call, x=torch.full_like(call.x, odd)))


def main(names: list[str]) -> None:
    """Cells in either precision by turns; ``overflow`` and ``undefined`` are faults on purpose."""
    build.FLAGS = (
        *(f for f in build.FLAGS if f != "-O3"), "-O1", "-g", f"-fsanitize={SANITIZERS}",
        "-fno-sanitize-recover=all",
    )  # fmt: skip
    for k, name in enumerate(names):
        if name in ("overflow", "undefined"):
            _fault(name)
        cell = TRICKY[name] if name in TRICKY else CELLS[name]
        run(cell, (torch.float32, torch.float64)[k % 2])
        print(name, flush=True)


def _fault(name: str) -> None:
    statement = {"overflow": "x[n] = 1;", "undefined": "x[0] = (int)1 << (int)(n + 28);"}[name]
    library = build.load(f"void fault(double *x, long n) {{ {statement} }}", {})
    x = torch.zeros(4, dtype=torch.float64)
    library.fault(ctypes.c_void_p(x.data_ptr()), ctypes.c_long(4))


if __name__ == "__main__":
    main(sys.argv[1:])
