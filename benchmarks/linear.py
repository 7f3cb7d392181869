"""Linear cells: the reference backend's scan beside its walk, and the CPU's loop beside a copy.

    python -m benchmarks.linear

prints two tables.  Each figure is the median of ratios of runs that follow each other at once, so
that a machine that does other work meanwhile slows both.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from statistics import median
from time import perf_counter

import torch
from torch import Tensor

from unrolled import cell
from unrolled.backends import reference
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.reference import ReferenceKernel
from unrolled.cells import mingru
from unrolled.lower import lower

STEPS = (8, 16, 32, 64, 256, 1024, 4096)
WIDTHS = ((1, 32), (1, 256), (8, 256), (32, 256), (64, 1024))
LONG = (1_000, 10_000, 100_000)
ROUNDS = 11
MOST = 2**24
"""States of all steps; more would take gigabytes."""


@cell
def given(x, h):  # type: ignore[no-untyped-def]
    """A linear cell of two reads and one write a step."""
    a, b = x.chunk(2)
    return a * h + b


def main() -> None:
    """Both tables."""
    print("times the walk takes of the scan's, reference backend, minGRU, D = 8, float32")
    print(f"{'B':>4} {'H':>5} {'T':>6} {'inference':>10} {'training':>10}")
    for batch, hidden in WIDTHS:
        for steps in STEPS:
            if steps * batch * hidden <= MOST:
                calls = _calls(steps, batch, hidden)
                ratios = [_ratio(_walked(call), call) for call in calls]
                print(f"{batch:4} {hidden:5} {steps:6} " + " ".join(f"{r:10.2f}" for r in ratios))
    print(
        "\nGB/s of the CPU backend's forward loop (3 values read or written a state), and a copy's"
    )
    print(f"{'B':>4} {'H':>5} {'T':>6} {'copy':>8} {'loop':>8} {'part':>6}")
    for steps in LONG:
        print(_against_copy(steps, 1, 256))


def _calls(steps: int, batch: int, hidden: int) -> tuple[Callable[[], object], ...]:
    """A call for inference, and one forward and backward."""
    sizes = mingru.resolve_sizes(8, hidden)
    plan = lower(mingru.graph(sizes, torch.float32), ("y",), ("x", "W", "b"))
    kernel = ReferenceKernel(plan)
    x, h = torch.randn(steps, batch, 8), torch.randn(batch, hidden)
    shapes = mingru.parameter_shapes(sizes)
    parameters = {n: torch.randn([int(k) for k in s]) / 3 for n, s in shapes.items()}
    d = torch.randn(steps, batch, hidden)

    def inference() -> Tensor:
        return kernel.forward(x, (h,), parameters, False).outputs["y"]

    def training() -> object:
        run = kernel.forward(x, (h,), parameters, True)
        return kernel.backward(run.residuals, {"y": d}, (torch.zeros_like(h),))

    return inference, training


def _walked(call: Callable[[], object]) -> Callable[[], object]:
    def walked() -> object:
        with always(False):
            return call()

    return walked


@contextmanager
def always(scan: bool) -> Generator[None]:
    """The reference backend with one method for linear cells of any length but none."""
    chosen = reference.scans
    reference.scans = lambda sizes, width, device: scan
    try:
        yield
    finally:
        reference.scans = chosen


def _ratio(first: Callable[[], object], second: Callable[[], object]) -> float:
    with always(True):
        second()
        first()
        return median(_seconds(first) / _seconds(second) for _ in range(ROUNDS))


def _seconds(call: Callable[[], object]) -> float:
    repeats, start = 0, perf_counter()
    while perf_counter() - start < 0.005:
        call()
        repeats += 1
    return (perf_counter() - start) / repeats


def _against_copy(steps: int, batch: int, hidden: int) -> str:
    """The loop alone: a cell without products, whose coefficients are its input."""
    sizes = given.resolve_sizes(2 * hidden, hidden)
    kernel = CpuKernel(lower(given.graph(sizes, torch.float32), ("y",), ("x",)))
    x, h = torch.rand(steps, batch, 2 * hidden), torch.zeros(batch, hidden)
    source = torch.rand(steps * batch * hidden * 3 // 2)
    target = torch.empty_like(source)

    def loop() -> object:
        return kernel.forward(x, (h,), {}, False)

    def copy() -> object:
        return target.copy_(source)

    loop()
    pairs = [(_seconds(copy), _seconds(loop)) for _ in range(ROUNDS)]
    gigabytes = 2 * source.nbytes / 1e9
    rates = [median(gigabytes / p[k] for p in pairs) for k in (0, 1)]
    part = median(copied / looped for copied, looped in pairs)
    return f"{batch:4} {hidden:5} {steps:6} {rates[0]:8.1f} {rates[1]:8.1f} {part:6.2f}"


if __name__ == "__main__":
    main()
