"""``Compiled``: a plan with the kernel of the backend that runs it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from unrolled.backends import select
from unrolled.backends.protocol import Kernel
from unrolled.lower import Plan

DTYPES = (torch.float32, torch.float64)
"""What kernels compute in."""


@dataclass(frozen=True)
class Compiled:
    """A plan, the backend that was chosen for it, and its kernel."""

    plan: Plan
    backend: str
    kernel: Kernel


def compile_plan(plan: Plan, backend: str, device: str) -> Compiled:
    """The plan on the backend that ``select`` finds for it.

    Not cached: to compare plans is slow, and each caller has a shorter name for its own.
    """
    chosen = select(plan, backend, device)
    return Compiled(plan, chosen.name, chosen.compile(plan))
