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

from unrolled.backends.protocol import Gradients, Kernel, Run, Values
from unrolled.ir import Equation, Var, concrete
from unrolled.lower import Plan
from unrolled.ops import TABLE
from unrolled.passes.stages import Schedule


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
        self, x: Tensor, states: Sequence[Tensor], parameters: Mapping[str, Tensor], keep: bool
    ) -> Run:
        """Run over ``x`` [T, B, D] from ``states`` ([B, size] each)."""
        graph = self.plan.forward.graph
        given = {graph.inputs[0].name: x, **parameters}
        wanted: tuple[Var, ...] = ()
        if keep and self.plan.reverse is not None:
            wanted = self.plan.reverse.graph.residuals
        values, final = self._forward.run(given, states, x.shape[:2], range(x.shape[0]), wanted, x)
        outputs = {o.name: _spread(values, o.var, x) for o in graph.outputs}
        return Run(outputs, final, {v.name: values[v.name] for v in wanted})

    def backward(
        self, residuals: Values, d_outputs: Mapping[str, Tensor], d_states: Sequence[Tensor]
    ) -> Gradients:
        """Run the reverse step from the last time step to the first."""
        assert self._reverse is not None, "lowered without wrt"
        assert self.plan.reverse is not None, "lowered without wrt"
        graph = self.plan.reverse.graph
        names = (o.name for o in self.plan.forward.graph.outputs)
        d_named = {v.name: d_outputs[n] for v, n in zip(graph.inputs, names, strict=True)}
        like = next(iter(d_named.values()))
        steps = range(like.shape[0] - 1, -1, -1)
        given = {**residuals, **d_named}
        values, final = self._reverse.run(given, d_states, like.shape[:2], steps, (), like)
        forward = self.plan.forward.graph
        outputs = {
            o.name: _spread(values, o.var, like)
            if any(o.name == v.name for v in forward.inputs)
            else values[o.var.name]
            for o in graph.outputs
        }
        return Gradients(outputs, final)


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
        self,
        given: Mapping[str, Tensor],
        states: Sequence[Tensor],
        lead: Sequence[int],
        steps: range,
        wanted: Iterable[Var],
        like: Tensor,
    ) -> tuple[Values, tuple[Tensor, ...]]:
        """All values over [T, B] that outlive the loop, and the last states.

        ``steps`` is the order of time.  ``wanted`` are further values to keep, by name.
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
        sequences = [(name, values[name].unbind(0)) for name in self._sliced]
        env: Values = {name: values[name] for name in self._constant}
        current = tuple(states)
        for t in steps:
            for state, value in zip(graph.states, current, strict=True):
                env[state.name] = value
            for name, sequence in sequences:
                env[name] = sequence[t]
            _interpret(self._loop, env, like)
            for name, past in history.items():
                past.append(env[name])
            current = tuple(
                env[v.name] if v.per_step else env[v.name].expand(lead[1], *env[v.name].shape)
                for v in graph.next_states
            )
        for name, past in history.items():
            values[name] = _stack(past, kept[name], lead, steps.step < 0, like)
        _interpret(self._after, values, like)
        return values, current


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


def _stack(
    past: list[Tensor], var: Var, lead: Sequence[int], backwards: bool, like: Tensor
) -> Tensor:
    if not past:
        dtype = torch.bool if var.dtype == "bool" else like.dtype
        return like.new_zeros((0, lead[1], *concrete(var.shape)), dtype=dtype)
    return torch.stack(past[::-1] if backwards else past)
