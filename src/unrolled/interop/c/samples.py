"""Inputs for the test program, and what Python makes of them in float64 from the same numbers.

The expected numbers come from the user's own equations, interpreted one by one; what bounds their
distance from the C program's comes from the equations that were written.  Each step of the sequence
begins at the state that the one before should have left, rounded to float32, so that its bound is
that of one step: over many steps no bound could tell an error from what chaos makes of rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.interop.c.bound import Near, allowed, bounds, exactly
from unrolled.interop.c.program import Program
from unrolled.interpret import evaluate
from unrolled.ir import Var

STEPS = 6


@dataclass(frozen=True)
class Results:
    """The numbers of one step in one row: outputs first, then the states, layer by layer."""

    expected: Tensor
    bound: Tensor


@dataclass(frozen=True)
class Samples:
    """A sequence: ``x`` [steps, size] in float32 or tokens [steps], and what each step gives."""

    x: Tensor
    results: tuple[Results, ...]


@torch.no_grad()
def sample(program: Program, steps: int = STEPS) -> Samples:
    """A random sequence, the same each time; inputs are uniform in ±1, tokens uniform."""
    network = program.network
    source = torch.Generator().manual_seed(0)
    if network.tokens:
        x = torch.randint(network.tokens, (steps,), generator=source)
    else:
        x = 2 * torch.rand(steps, network.input_size, generator=source) - 1
    states: list[tuple[Tensor, ...]] = [
        tuple(torch.zeros(int(v.shape[0])) for v in p.layer.graph.states)
        if p.layer.initial is None
        else p.layer.initial
        for p in program.placed
    ]
    results: list[Results] = []
    for x_t in x:
        found, states = _step(program, _vector(program, x_t), states)
        results.append(found)
    return Samples(x, tuple(results))


def _vector(program: Program, x: Tensor) -> Tensor:
    network = program.network
    if not network.tokens:
        return x
    if network.embedding is not None:
        return network.embedding[int(x)]
    return torch.nn.functional.one_hot(x, network.tokens).float()


def _step(
    program: Program, x: Tensor, states: list[tuple[Tensor, ...]]
) -> tuple[Results, list[tuple[Tensor, ...]]]:
    """One step of all layers, and the states after it in float32."""
    value, near = x.double(), exactly(x.double())
    after: list[tuple[Tensor, ...]] = []
    further: list[tuple[Tensor, Near]] = []
    new: list[tuple[Tensor, Near]] = []
    for p, held in zip(program.placed, states, strict=True):
        exact = tuple(s.double() for s in held)
        parameters = {n: t.double() for n, t in p.layer.parameters.items()}
        y, next_states, *rest = evaluate(p.layer.graph, value, exact, parameters)
        extras = rest[0] if rest else {}
        graph = p.step.graph
        given: dict[Var, Near] = {graph.inputs[0]: near}
        given.update((v, exactly(s)) for v, s in zip(graph.states, exact, strict=True))
        outputs, states_near = bounds(p.step, given, p.exact)
        value, near = y, outputs[0]
        further += [
            (extras[o.name], n) for o, n in zip(graph.outputs[1:], outputs[1:], strict=True)
        ]
        new += zip(next_states, states_near, strict=True)
        after.append(tuple(s.float().reshape(-1) for s in next_states))
    pairs = [(value, near), *further, *new]
    expected = torch.cat([v.double().reshape(-1) for v, _ in pairs])
    bound = torch.cat([allowed(n).expand(v.shape).reshape(-1) for v, n in pairs])
    return Results(expected, bound), after
