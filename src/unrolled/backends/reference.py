"""The reference backend: a Plan interpreted with torch, on every device and for every dtype.

Each equation is one torch call; before and after the loop on all time steps at once ([T, B, …]),
in the loop on one step ([B, …]).  The loop of a linear cell runs on all time steps at once as well,
in both directions: first the states by a parallel scan (:mod:`unrolled.backends.scan`), then every
other value from them.  :mod:`unrolled.backends.method` says when.  What torch records of it is
differentiable again, so it serves derivatives of every order.  It is what other backends are
compared with, after it has itself been compared with the plain loop (:mod:`unrolled.naive`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from unrolled.backends.carried import Carried
from unrolled.backends.method import explain_interpreted, linear_loops, scans
from unrolled.backends.protocol import Gradients, Kernel, Run, Values
from unrolled.backends.scanned import Scanned
from unrolled.ir import Constant, Equation, Var, concrete, n_elements
from unrolled.lower import Plan
from unrolled.ops import TABLE
from unrolled.passes.linear import LinearForm
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
        """That torch does it all, and which method runs the loops."""
        return (
            "as 'reference' runs it:\n  each equation is one call to torch: around the loops over "
            f"all steps, in them at every step{explain_interpreted(plan)}"
        )


class ReferenceKernel:
    """A plan, ready to be interpreted."""

    differentiable = True

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        forward, reverse = linear_loops(plan)
        self._forward = _Loop(plan.forward, forward)
        self._reverse = None if plan.reverse is None else _Loop(plan.reverse, reverse)

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
        values = self._forward.before(given, x)
        final = self._forward.run(values, _Way(states, steps, False, fresh), wanted, x).final
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
        values = self._reverse.before(given, like)
        ends = self._reverse.run(values, _Way(d_states, steps, True), (), like)
        forward = self.plan.forward.graph
        outputs = {
            o.name: _spread(values, o.var, like)
            if any(o.name == v.name for v in forward.inputs)
            else values[o.var.name]
            for o in graph.outputs
        }
        return Gradients(outputs, ends.final, ends.taken_out)


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


class _Way(NamedTuple):
    """What a loop begins with, and how it goes through its steps."""

    initial: Sequence[Tensor]
    steps: Steps
    backwards: bool
    fresh: Sequence[Tensor] = ()


class _Ends(NamedTuple):
    """The last states, and in a reverse run what resets take out of the cotangents."""

    final: tuple[Tensor, ...]
    taken_out: tuple[Tensor, ...]


class _Loop:
    """A schedule with its table look-ups done; ``linear`` is its loop's form where it may scan."""

    def __init__(self, schedule: Schedule, linear: LinearForm | None) -> None:
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
        self._width = sum(n_elements(s.shape) for s in self._graph.states)
        self._coefficients = None if linear is None else _Coefficients(linear)

    def before(self, given: Values, like: Tensor) -> Values:
        """All values over [T, B] that the loop begins with."""
        values = given | _constants(self._graph.constants, like)
        _interpret(self._before, values, like)
        return values

    def run(self, values: Values, way: _Way, wanted: Iterable[Var], like: Tensor) -> _Ends:
        """The loop and what follows it, added to ``values`` where it outlives the loop.

        ``wanted`` are further values to keep, by name.
        """
        sizes = way.steps.sizes(like.shape[:2])
        # Padded sequences whose lengths can't be read are masked step by step.
        coefficients = None if way.steps.lengths is not None else self._coefficients
        if coefficients is not None and scans(sizes, self._width, like.device.type):
            ends = self._scan(coefficients, values, way, like)
        else:
            ends = self._walk(values, way, wanted, like)
        _interpret(self._after, values, like)
        return ends

    def _walk(self, values: Values, way: _Way, wanted: Iterable[Var], like: Tensor) -> _Ends:
        """Step by step."""
        carried = Carried(way.initial, way.steps, like, way.backwards, way.fresh)
        by_name = {v.name: v for v in self._in_loop}
        kept = {v.name: v for v in self._needed_later}
        kept.update({v.name: by_name[v.name] for v in wanted if v.name in by_name})
        history: dict[str, list[Tensor]] = {name: [] for name in kept}
        sequences = [(name, carried.by_step(values[name])) for name in self._sliced]
        env: Values = {name: values[name] for name in self._constant}
        for t in carried.order:
            for state, value in zip(self._graph.states, carried.before(t), strict=True):
                env[state.name] = value
            for name, sequence in sequences:
                env[name] = sequence[t]
            _interpret(self._loop, env, like)
            for name, past in history.items():
                past.append(env[name])
            carried.after(t, [(env[v.name], v.per_step) for v in self._graph.next_states])
        for name, past in history.items():
            values[name] = carried.joined(past, kept[name])
        return _Ends(carried.final(), carried.taken_out)

    def _scan(
        self, coefficients: _Coefficients, values: Values, way: _Way, like: Tensor
    ) -> _Ends:  # fmt: skip
        """The states of all steps by a scan, then the loop's equations on all steps at once."""
        scanned = Scanned(way.initial, way.steps, like, way.backwards, way.fresh)
        pairs = coefficients.of(values, like)
        states = zip(self._graph.states, pairs, strict=True)
        values.update((s.name, scanned.before(k, *pair)) for k, (s, pair) in enumerate(states))
        _interpret(self._loop, values, like)
        after = [_spread(values, v, like) for v in self._graph.next_states]
        taken = [scanned.taken_out(k, s) for k, s in enumerate(after)]
        final = tuple(scanned.final(k, s) for k, s in enumerate(after))
        return _Ends(final, tuple(t for t in taken if t is not None))


class _Coefficients:
    """A linear form with its table look-ups done."""

    def __init__(self, form: LinearForm) -> None:
        graph = form.coefficients
        self._constants = graph.constants
        self._read = [v.name for v in graph.residuals]
        self._equations = [_step(e) for e in graph.equations]
        variables = [o.var for o in graph.outputs]
        self._pairs = list(zip(variables[::2], variables[1::2], strict=True))
        self._zero = {c.var for c in graph.constants if not any(c.data)}

    def of(self, values: Values, like: Tensor) -> list[tuple[Tensor | None, Tensor]]:
        """``a`` and ``b`` over all steps, for each state; no ``a`` is one of zeros."""
        env = {name: values[name] for name in self._read} | _constants(self._constants, like)
        _interpret(self._equations, env, like)
        return [
            (None if a in self._zero else _spread(env, a, like), _spread(env, b, like))
            for a, b in self._pairs
        ]


def _constants(constants: Iterable[Constant], like: Tensor) -> Values:
    return {
        c.var.name: torch.tensor(c.data, dtype=like.dtype, device=like.device).reshape(
            concrete(c.var.shape)
        )
        for c in constants
    }


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
