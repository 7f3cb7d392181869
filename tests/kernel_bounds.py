"""A problem as a kernel's call, and how far from the exact results rounding may take a kernel's."""

from __future__ import annotations

import torch
from torch import Tensor

from kernel_runs import Call
from oracle.agreement import Problem
from oracle.running_error import Bounds, analyse
from unrolled.ir import Graph

ROUNDOFF = {torch.float64: 1.0, torch.float32: 1.001 * 2.0**29}
"""Relative to float64; the bounds are linear in it but for a part in 10^6."""


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
