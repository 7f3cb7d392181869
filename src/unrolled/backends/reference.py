"""The reference backend: a Plan interpreted with torch, on every device and for every dtype.

Each equation is one torch call; before and after the loop on all time steps at once ([T, B, …]),
in the loop on one step ([B, …]).  What torch records of it is differentiable again, so it serves
derivatives of every order.  It is what other backends are compared with, after it has itself been
compared with the plain loop (:mod:`unrolled.naive`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.backends.carried import Carried
from unrolled.backends.protocol import Gradients, Kernel, Run, Values
from unrolled.ir import Equation, Var, concrete
from unrolled.lower import Plan
from unrolled.ops import TABLE
from unrolled.passes.stages import Schedule
from unrolled.steps import EVEN, Steps


class Reference:
    """Interprets any plan."""

    name = "reference"

    def supports(self, plan: Plan, device: str) -> str | None:
        """Every plan is served, on every device."""
        return None

    def compile(self, plan: Plan) -> Kernel:
        """A kernel that walks the plan's equations."""
        return ReferenceKernel(plan)

    def explain(self, plan: Plan) -> str:
        """That torch does it all."""
        return (
            "as 'reference' runs it:\n  each equation is one call to torch: around the loops over "
            "all steps, in them at every step"
        )


class ReferenceKernel:
    """A plan, ready to be interpreted."""

    differentiable = True

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._forward = _Loop(plan.forward)
        self._reverse = None if plan.reverse is None else _Loop(plan.reverse)

    def source(self, dtype: torch.dtype, backwards: bool) -> None:
        """Nothing is generated."""

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
        wanted: tuple[Var, ...] = ()
        if keep and self.plan.reverse is not None:
            wanted = self.plan.reverse.graph.residuals
        values, final = self._forward.run(given, Carried(states, steps, x, False, fresh), wanted, x)
        outputs = {o.name: _spread(values, o.var, x) for o in graph.outputs}
        return Run(outputs, final, {v.name: values[v.name] for v in wanted})

    def stepper(self, parameters: Mapping[str, Tensor], states: Sequence[Tensor]) -> ReferenceStep:
        """The plan a step at a time, from copies of these states."""
        return ReferenceStep(self, parameters, states)

    def backward(
        self,
        residuals: Values,
        d_outputs: Mapping[str, Tensor],
        d_states: Sequence[Tensor],
        steps: Steps = EVEN,
    ) -> Gradients:
        """Run the reverse step from the last time step to the first."""
        assert self._reverse is not None, "lowered without wrt"
        assert self.plan.reverse is not None, "lowered without wrt"
        graph = self.plan.reverse.graph
        names = (o.name for o in self.plan.forward.graph.outputs)
        d_named = {v.name: d_outputs[n] for v, n in zip(graph.inputs, names, strict=True)}
        like = next(iter(d_named.values()))
        given = {**residuals, **d_named}
        carried = Carried(d_states, steps, like, True)
        values, final = self._reverse.run(given, carried, (), like)
        forward = self.plan.forward.graph
        outputs = {
            o.name: _spread(values, o.var, like)
            if any(o.name == v.name for v in forward.inputs)
            else values[o.var.name]
            for o in graph.outputs
        }
        return Gradients(outputs, final, carried.taken_out)


class ReferenceStep:
    """A sequence of one step, again and again; torch takes memory in each."""

    def __init__(
        self, kernel: ReferenceKernel, parameters: Mapping[str, Tensor], states: Sequence[Tensor]
    ) -> None:
        self._kernel = kernel
        self.refresh(parameters)
        self.states = tuple(s.detach().clone() for s in states)
        (output,) = kernel.plan.forward.graph.outputs
        self.y = self.states[0].new_empty(len(self.states[0]), *concrete(output.var.shape))

    def refresh(self, parameters: Mapping[str, Tensor]) -> None:
        """Go on with these parameters, of which nothing is made beforehand."""
        self._parameters = {name: p.detach() for name, p in parameters.items()}

    @torch.no_grad()
    def step(self, x: Tensor) -> None:
        """One step on ``x`` [B, D]."""
        run = self._kernel.forward(x.unsqueeze(0), self.states, self._parameters, keep=False)
        self.y.copy_(run.outputs["y"][0])
        for state, after in zip(self.states, run.states, strict=True):
            state.copy_(after)


def _spread(values: Values, var: Var, like: Tensor) -> Tensor:
    """A value for every step and example, also where it is the same for all."""
    value = values[var.name]
    return value if var.per_step else value.expand(*like.shape[:2], *value.shape)


_Step = tuple[Callable[..., Tensor], Equation, tuple[Any, ...], str]


class _Loop:
    """A schedule with its table look-ups done."""

    def __init__(self, schedule: Schedule) -> None:
        self._graph = schedule.graph
        self._before = [_step(e) for e in schedule.before]
        self._loop = [_step(e) for e in schedule.loop]
        self._after = [_step(e) for e in schedule.after]
        in_loop = {e.out for e in schedule.loop} | set(self._graph.states)
        read = dict.fromkeys((*schedule.reads("loop"), *self._graph.next_states))
        outside = [v for v in read if v not in in_loop]
        self._sliced = [v.name for v in outside if v.per_step]
        self._constant = [v.name for v in outside if not v.per_step]
        self._in_loop = in_loop
        late = (*schedule.reads("after"), *(o.var for o in self._graph.outputs))
        self._needed_later = [v for v in dict.fromkeys(late) if v in in_loop]

    def run(
        self, given: Mapping[str, Tensor], carried: Carried, wanted: Iterable[Var], like: Tensor
    ) -> tuple[Values, tuple[Tensor, ...]]:
        """All values over [T, B] that outlive the loop, and the last states.

        ``wanted`` are further values to keep, by name.
        """
        graph = self._graph
        values: Values = dict(given)
        for constant in graph.constants:
            data = torch.tensor(constant.data, dtype=like.dtype, device=like.device)
            values[constant.var.name] = data.reshape(concrete(constant.var.shape))
        _interpret(self._before, values, like)

        by_name = {v.name: v for v in self._in_loop}
        kept = {v.name: v for v in self._needed_later}
        kept.update({v.name: by_name[v.name] for v in wanted if v.name in by_name})
        history: dict[str, list[Tensor]] = {name: [] for name in kept}
        sequences = [(name, carried.by_step(values[name])) for name in self._sliced]
        env: Values = {name: values[name] for name in self._constant}
        for t in carried.order:
            for state, value in zip(graph.states, carried.before(t), strict=True):
                env[state.name] = value
            for name, sequence in sequences:
                env[name] = sequence[t]
            _interpret(self._loop, env, like)
            for name, past in history.items():
                past.append(env[name])
            carried.after(t, [(env[v.name], v.per_step) for v in graph.next_states])
        for name, past in history.items():
            values[name] = carried.joined(past, kept[name])
        _interpret(self._after, values, like)
        return values, carried.final()


def _step(equation: Equation) -> _Step:
    args = tuple(a.name if isinstance(a, Var) else a for a in equation.args)
    return TABLE[equation.op].run, equation, args, equation.out.name


def _interpret(steps: Iterable[_Step], env: Values, like: Tensor) -> None:
    for run, equation, args, out in steps:
        operands = [env[a] if isinstance(a, str) else a for a in args]
        if equation.op == "where" and not isinstance(operands[1], Tensor):
            # torch gives two plain numbers its default type, not the run's
            operands[1] = torch.tensor(operands[1], dtype=like.dtype, device=like.device)
        env[out] = run(equation, *operands)
