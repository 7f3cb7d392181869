"""The recurrence of uneven sequences, or with further outputs, as an operator of torch's.

For whoever records programs (see :mod:`unrolled.operators`) a padded batch and the tensor of its
lengths: how much there is of a packed one is known only when the program runs, and so packing
happens in here.  For the same reason nothing is kept for the backward pass but the arguments, and
it runs forward once more, in segments where there is a ``checkpoint``.

``unrolled::recurrence_uneven``            what a user calls, with its derivative
``unrolled::recurrence_uneven_backward``   the backward pass
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor

from unrolled.backends.checkpointed import (
    Checkpoint,
    Checkpointed,
    check_checkpoint,
    segment,
)
from unrolled.backends.protocol import Gradients, Run, Runner, Values
from unrolled.backends.reference import ReferenceKernel
from unrolled.compiled import Compiled, compile_plan
from unrolled.differentiable import Call, Recurrence, torch_transforms, wanted
from unrolled.ir import Var, concrete
from unrolled.lower import Plan, lower
from unrolled.operator_checks import check, check_count, check_tensor
from unrolled.operators import LIBRARY, graph_of, own
from unrolled.padded import Padded
from unrolled.steps import EVEN, Steps

_ARGUMENTS = (
    "str backend, bool opposite, Tensor? lengths, Tensor? resets, Tensor x, Tensor[] states, "
    "Tensor[] fresh, Tensor[] parameters"
)
_CHECKPOINT = "str? checkpoint=None"  # "sqrt", or digits

SCHEMAS = {
    "recurrence_uneven": f"(str step, {_ARGUMENTS}, {_CHECKPOINT}) -> (Tensor[], Tensor[])",
    "recurrence_uneven_backward": (
        f"(str step, str[] wrt, {_ARGUMENTS}, Tensor[] d_outputs, Tensor[] d_states, "
        f"{_CHECKPOINT}) -> Tensor[]"
    ),
}
"""Results: outputs and final states; the cotangents of the states, of ``fresh``, then of ``wrt``
in the order of the step's inputs and parameters."""


@lru_cache(maxsize=1024)
def _plan(step: str, wrt: tuple[str, ...]) -> Plan:
    graph = graph_of(step)
    return lower(graph, [o.name for o in graph.outputs], wrt)


@lru_cache(maxsize=1024)
def _compiled(step: str, wrt: tuple[str, ...], backend: str, device: str) -> Compiled:
    return compile_plan(_plan(step, wrt), backend, device)


def _padded(
    step: str, wrt: tuple[str, ...], backend: str, checkpoint: str | None, x: Tensor
) -> Padded:
    compiled = _compiled(step, wrt, backend, x.device.type)
    kernel: Runner = compiled.kernel
    if wrt and checkpoint is not None:
        every = segment("sqrt" if checkpoint == "sqrt" else int(checkpoint), x.shape[0])
        kernel = Checkpointed(kernel, compiled.plan, every)
    return Padded(kernel, compiled.plan)


def _named(step: str, given: Sequence[Tensor]) -> dict[str, Tensor]:
    return dict(zip((v.name for v in graph_of(step).given), given, strict=True))


def _forward(
    step: str, backend: str, opposite: bool, lengths: Tensor | None, resets: Tensor | None,
    x: Tensor, states: Sequence[Tensor], fresh: Sequence[Tensor], parameters: Sequence[Tensor],
    checkpoint: str | None = None,
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    _check(step, x, states, fresh, parameters)
    kernel = _padded(step, (), backend, checkpoint, x)
    steps = Steps(opposite, None, resets, lengths)
    run = kernel.forward(x, states, _named(step, parameters), False, steps, fresh)
    outputs = [run.outputs[o.name] for o in graph_of(step).outputs]
    found = own([*outputs, *run.states], (x, *states, *fresh, *parameters))
    return found[: len(outputs)], found[len(outputs) :]


def _backward(
    step: str, wrt: Sequence[str], backend: str, opposite: bool, lengths: Tensor | None,
    resets: Tensor | None, x: Tensor, states: Sequence[Tensor], fresh: Sequence[Tensor],
    parameters: Sequence[Tensor], d_outputs: Sequence[Tensor], d_states: Sequence[Tensor],
    checkpoint: str | None = None,
) -> list[Tensor]:  # fmt: skip
    _check(step, x, states, fresh, parameters)
    graph = graph_of(step)
    check_count("cotangents of outputs", d_outputs, [o.name for o in graph.outputs])
    check_count("cotangents of states", d_states, [v.name for v in graph.states])
    for output, d in zip(graph.outputs, d_outputs, strict=True):
        check_tensor(f"d_{output.name}", d, (*x.shape[:2], *concrete(output.var.shape)), x)
    for var, d in zip(graph.states, d_states, strict=True):
        check_tensor(f"d_{var.name}", d, (x.shape[1], *concrete(var.shape)), x)
    kernel = _padded(step, tuple(wrt), backend, checkpoint, x)
    steps = Steps(opposite, None, resets, lengths)
    run = kernel.forward(x, states, _named(step, parameters), True, steps, fresh)
    named = {o.name: d for o, d in zip(graph.outputs, d_outputs, strict=True)}
    found = kernel.backward(run.residuals, named, d_states, steps)
    values = [found.outputs[v.name] for v in _sources(step, wrt)]
    back = [*found.states, *found.fresh]
    return own([*back, *values], (x, *states, *fresh, *parameters, *d_outputs, *d_states))


def _fake_forward(
    step: str, backend: str, opposite: bool, lengths: Tensor | None, resets: Tensor | None,
    x: Tensor, states: Sequence[Tensor], fresh: Sequence[Tensor], parameters: Sequence[Tensor],
    checkpoint: str | None = None,
) -> tuple[list[Tensor], list[Tensor]]:  # fmt: skip
    _check(step, x, states, fresh, parameters)
    made = [
        x.new_empty(
            *x.shape[:2],
            *concrete(o.var.shape),
            dtype=torch.bool if o.var.dtype == "bool" else x.dtype,
        )
        for o in graph_of(step).outputs
    ]
    return made, [s.new_empty(s.shape) for s in states]


def _fake_backward(
    step: str, wrt: Sequence[str], backend: str, opposite: bool, lengths: Tensor | None,
    resets: Tensor | None, x: Tensor, states: Sequence[Tensor], fresh: Sequence[Tensor],
    parameters: Sequence[Tensor], d_outputs: Sequence[Tensor], d_states: Sequence[Tensor],
    checkpoint: str | None = None,
) -> list[Tensor]:  # fmt: skip
    given = _named(step, parameters)
    given[graph_of(step).inputs[0].name] = x
    values = [given[v.name] for v in _sources(step, wrt)]
    return [t.new_empty(t.shape) for t in (*states, *fresh, *values)]


def _sources(step: str, wrt: Sequence[str]) -> list[Var]:
    graph = graph_of(step)
    return [v for v in (*graph.inputs, *graph.parameters) if v.name in wrt]


def _check(
    step: str, x: Tensor, states: Sequence[Tensor], fresh: Sequence[Tensor],
    parameters: Sequence[Tensor],
) -> None:  # fmt: skip
    graph = graph_of(step)
    if fresh:
        check_count("states that resets put in", fresh, [v.name for v in graph.states])
        for var, state in zip(graph.states, fresh, strict=True):
            name = f"state {var.name} that resets put in"
            check_tensor(name, state, (x.shape[1], *concrete(var.shape)), x)
    check(graph, x, states, parameters)


class _Operators:
    """The two operators in a kernel's form, for the autograd function."""

    differentiable = False

    def __init__(
        self, step: str, wrt: tuple[str, ...], backend: str, checkpoint: str | None
    ) -> None:
        self._step, self._wrt, self._backend, self._checkpoint = step, wrt, backend, checkpoint
        graph = graph_of(step)
        self._outputs = [o.name for o in graph.outputs]
        self._n_states = len(graph.states)
        self._names = [v.name for v in graph.given]

    def forward(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        parameters: Mapping[str, Tensor],
        keep: bool,
        steps: Steps = EVEN,
        fresh: Sequence[Tensor] = (),
    ) -> Run:
        """Run over ``x`` [T, B, D]; the residuals are the arguments."""
        given = [parameters[name] for name in self._names]
        outputs, final = torch.ops.unrolled.recurrence_uneven(
            self._step, self._backend, steps.opposite, steps.lengths, steps.resets, x,
            list(states), list(fresh), given, self._checkpoint,
        )  # fmt: skip
        tensors = [x, *states, *fresh, *given]
        residuals = {str(k): t for k, t in enumerate(tensors)}
        return Run(dict(zip(self._outputs, outputs, strict=True)), tuple(final), residuals)

    def backward(
        self,
        residuals: Values,
        d_outputs: Mapping[str, Tensor],
        d_states: Sequence[Tensor],
        steps: Steps = EVEN,
    ) -> Gradients:
        """Run the backward operator."""
        x, *others = residuals.values()
        n = self._n_states
        n_fresh = n if steps.resets is not None else 0
        found = torch.ops.unrolled.recurrence_uneven_backward(
            self._step, self._wrt, self._backend, steps.opposite, steps.lengths, steps.resets, x,
            others[:n], others[n : n + n_fresh], others[n + n_fresh :],
            [d_outputs[name] for name in self._outputs], list(d_states), self._checkpoint,
        )  # fmt: skip
        sources = (v.name for v in _sources(self._step, self._wrt))
        values = dict(zip(sources, found[n + n_fresh :], strict=True))
        return Gradients(values, tuple(found[:n]), tuple(found[n : n + n_fresh]))


def _derivative(
    step: str, backend: str, opposite: bool, lengths: Tensor | None, resets: Tensor | None,
    x: Tensor, states: Sequence[Tensor], fresh: Sequence[Tensor], parameters: Sequence[Tensor],
    checkpoint: str | None = None,
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:  # fmt: skip
    graph = graph_of(step)
    names = tuple(v.name for v in graph.given)
    outputs = tuple(o.name for o in graph.outputs)
    check_count("parameters", parameters, names)
    steps = Steps(opposite, None, resets, lengths)
    if torch_transforms():
        plan = _plan(step, ())
        run = Padded(ReferenceKernel(plan), plan).forward(
            x, states, _named(step, parameters), False, steps, fresh
        )
        return [run.outputs[name] for name in outputs], run.states
    wrt = wanted(graph.inputs[0].name, graph.states, names, x, (*states, *fresh), parameters)
    if not wrt:
        with torch._C._AutoDispatchBelowAutograd():  # pyright: ignore[reportPrivateUsage]
            return torch.ops.unrolled.recurrence_uneven(
                step, backend, opposite, lengths, resets, x, states, fresh, parameters, checkpoint
            )
    plan = _compiled(step, wrt, backend, x.device.type).plan
    kernel = _Operators(step, wrt, backend, checkpoint)
    results = cast(
        tuple[Tensor, ...],
        Recurrence.apply(
            Call(kernel, plan, outputs, names, steps, Padded(ReferenceKernel(plan), plan)),
            len(states), len(fresh), x, *states, *fresh, *parameters,
        ),
    )  # fmt: skip
    return list(results[: len(outputs)]), list(results[len(outputs) :])


def call(
    step: str,
    backend: str,
    checkpoint: Checkpoint,
    steps: Steps,
    x: Tensor,
    states: tuple[Tensor, ...],
    fresh: tuple[Tensor, ...],
    parameters: Sequence[Tensor],
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Outputs and final states; ``x`` is padded, and ``steps`` have the tensors that there are."""
    found, final = torch.ops.unrolled.recurrence_uneven(
        step, backend, steps.opposite, steps.lengths, steps.resets, x, list(states), list(fresh),
        list(parameters), None if checkpoint is None else str(check_checkpoint(checkpoint)),
    )  # fmt: skip
    return tuple(found), tuple(final)


def _define() -> None:
    implementations: dict[str, tuple[Any, Any]] = {
        "recurrence_uneven": (_forward, _fake_forward),
        "recurrence_uneven_backward": (_backward, _fake_backward),
    }
    for name, (run, fake) in implementations.items():
        LIBRARY.define(name + SCHEMAS[name], tags=(torch.Tag.pt2_compliant_tag,))
        LIBRARY.impl(name, run, "CompositeExplicitAutograd")
        torch.library.register_fake(f"unrolled::{name}", fake, lib=LIBRARY)
    LIBRARY.impl("recurrence_uneven", _derivative, "Autograd")
    LIBRARY.impl("recurrence_uneven", _derivative, "FuncTorchBatchedDecomposition")


_define()
