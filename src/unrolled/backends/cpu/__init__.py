"""The CPU backend: a plan's loops as C, compiled once, on torch's own threads.

place    which equations the loop takes, and which stay around it
layout   fused loops, scratch memory, levels
emit     the C, into templates/loop.c
build    compiler, cache, loading
around   what stays outside the loop: products as jobs, the rest as calls to torch
loop     one direction: jobs before, the loop, jobs after, on one workspace
kernel   both directions as outputs, residuals and gradients
sharing  how threads share the work
explain  the choices that are not in the plan, in words
"""

from __future__ import annotations

import os

from unrolled.backends.cpu.build import compiler
from unrolled.backends.cpu.explain import explain
from unrolled.backends.cpu.kernel import CpuKernel
from unrolled.backends.protocol import Kernel
from unrolled.lower import Plan


class Cpu:
    """Generates C for any plan.

    As ``cpu_invariant`` it computes an example's results to the same bits whatever other examples
    are beside it and however many threads there are, at some cost for one example alone.
    """

    def __init__(self, invariant: bool = False) -> None:
        self.name = "cpu_invariant" if invariant else "cpu"
        self._invariant = invariant

    def supports(self, plan: Plan, device: str) -> str | None:
        """Any plan on the CPU, where there is a C compiler."""
        if device != "cpu":
            return f"it runs on the CPU, and the tensors are on {device}"
        if compiler() is None:
            named = os.environ.get("CC")
            missing = f"CC={named} is no program here" if named else "no C compiler was found"
            return f"{missing}: install gcc or clang, or pip install ziglang; or set CC to another"
        return None

    def compile(self, plan: Plan) -> Kernel:
        """A kernel whose C is compiled at its first use in each precision."""
        return CpuKernel(plan, self._invariant)

    def explain(self, plan: Plan) -> str:
        """What runs the products outside the loops, and how threads share the work."""
        text = explain(plan)
        return text.replace("as 'cpu' runs it", f"as {self.name!r} runs it")
