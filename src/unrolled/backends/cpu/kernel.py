"""A plan on the CPU: its forward and its reverse loop, as outputs, residuals and gradients."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor

from unrolled.backends.cpu.loop import Loop
from unrolled.backends.cpu.step import CpuStep
from unrolled.backends.protocol import Gradients, Run, Values
from unrolled.ir import Var
from unrolled.lower import Plan
from unrolled.steps import EVEN, Steps


class CpuKernel:
    """A plan as two compiled loops; each precision is compiled at its first use.

    ``invariant``: a row's results have the same bits whatever rows are beside it.
    """

    differentiable = False

    def __init__(self, plan: Plan, invariant: bool = False) -> None:
        self.plan = plan
        self._invariant = invariant
        residuals = () if plan.reverse is None else plan.reverse.graph.residuals
        self._wanted = tuple(v.name for v in residuals)
        self._loops: dict[tuple[torch.dtype, bool, bool], Loop] = {}

    def _loop(self, dtype: torch.dtype, backwards: bool, uneven: bool = False) -> Loop:
        key = (dtype, backwards, uneven)
        if key not in self._loops:
            schedule = self.plan.reverse if backwards else self.plan.forward
            assert schedule is not None, "lowered without wrt"
            wanted = () if backwards else self._wanted
            self._loops[key] = Loop(schedule, wanted, dtype, backwards, uneven, self._invariant)
        return self._loops[key]

    def source(self, dtype: torch.dtype, backwards: bool) -> str:
        """The C of one direction."""
        return self._loop(dtype, backwards).source.text

    def forward(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Mapping[str, Tensor],
        keep: bool,
        steps: Steps = EVEN,
        fresh: Sequence[Tensor] = (),
    ) -> Run:
        """Run over ``x`` [T, B, D] from ``states`` ([B, size] each)."""
        graph = self.plan.forward.graph
        given = {graph.inputs[0].name: x, **parameters}
        loop = self._loop(x.dtype, False, not steps.even)
        put_in = [state.resolve_neg().contiguous() for state in fresh]
        values, final = loop.run(given, states, x, steps, put_in)
        outputs = {o.name: _own(values, o.var, x, graph.sources) for o in graph.outputs}
        return Run(outputs, final, {n: values[n] for n in self._wanted} if keep else {})

    def stepper(self, parameters: Mapping[str, Tensor], states: Sequence[Tensor]) -> CpuStep:
        """The plan a step at a time, from copies of these states."""
        return CpuStep(self.plan.forward, parameters, states, self._invariant)

    def backward(
        self,
        residuals: Values,
        d_outputs: Mapping[str, Tensor],
        d_states: Sequence[Tensor],
        steps: Steps = EVEN,
    ) -> Gradients:
        """Run the reverse step from the last time step to the first."""
        assert self.plan.reverse is not None, "lowered without wrt"
        graph, forward = self.plan.reverse.graph, self.plan.forward.graph
        named = zip(graph.inputs, (o.name for o in forward.outputs), strict=True)
        d_named = {v.name: d_outputs[n] for v, n in named}
        like = next(iter(d_named.values()))
        loop = self._loop(like.dtype, True, not steps.even)
        taken = () if steps.resets is None else tuple(map(_zeros, d_states))
        values, final = loop.run({**residuals, **d_named}, d_states, like, steps, taken)
        over_time = {v.name for v in forward.inputs}
        outputs = {
            o.name: _own(values, o.var, like, ())
            if o.name in over_time
            else _alone(values[o.var.name])
            for o in graph.outputs
        }
        return Gradients(outputs, final, taken)


def _zeros(like: Tensor) -> Tensor:
    return torch.zeros_like(like, memory_format=torch.contiguous_format)


def _own(values: Values, var: Var, like: Tensor, given: Collection[Var]) -> Tensor:
    """A value over all steps in memory of its own, which its user may write to."""
    value = values[var.name]
    if not var.per_step:
        return value.expand(*like.shape[:2], *value.shape).clone(
            memory_format=torch.contiguous_format
        )
    return value.clone() if var in given else _alone(value)


def _alone(value: Tensor) -> Tensor:
    """``value``, or a copy where it is part of a tensor: autograd forbids writing to such."""
    return value.clone(memory_format=torch.contiguous_format) if value._is_view() else value
