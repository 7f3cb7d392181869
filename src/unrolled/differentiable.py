"""The autograd function: a sequence forward and backward, one kernel call each.

The only one of the package.  Under ``create_graph`` the forward pass is run again on the
differentiable reference kernel, so that torch records the derived backward pass and can
differentiate it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unrolled.backends.protocol import Gradients, Run, Runner
from unrolled.backends.reference import ReferenceKernel
from unrolled.lower import Plan
from unrolled.steps import EVEN, Steps


class Named(Protocol):
    """A state, as a cell or a graph has it."""

    @property
    def name(self) -> str:
        """What the step function calls it."""
        ...


def wanted(
    input_name: str,
    declared_states: Sequence[Named],
    parameter_names: Sequence[str],
    x: Tensor,
    states: Sequence[Tensor],
    parameters: Sequence[Tensor],
) -> tuple[str, ...]:
    """What a backward pass may be asked for, by name: input and parameters, or else the states.

    ``states`` are all states that are given, those that resets put in too.  Their cotangents are
    carried in any case; they are named where nothing else is wanted.
    """
    if not torch.is_grad_enabled():
        return ()
    named = zip((input_name, *parameter_names), (x, *parameters), strict=True)
    wrt = tuple(name for name, tensor in named if tensor.requires_grad)
    if not wrt and any(s.requires_grad for s in states):
        return tuple(s.name for s in declared_states)
    return wrt


def torch_transforms() -> bool:
    """Whether torch differentiates or batches each operation itself: forward AD, torch.func."""
    # What is public asks one tensor at a time, which takes longer.
    return (
        forward_ad._current_level >= 0  # pyright: ignore[reportPrivateUsage]
        or torch._C._are_functorch_transforms_active()  # pyright: ignore
    )


def _batched(cotangents: Sequence[Tensor]) -> bool:
    """Whether one is batched by ``is_grads_batched`` or ``jacobian(vectorize=True)``.

    They have a ``vmap`` of their own, from before torch.func.
    """
    is_batched = torch._C._functorch.is_legacy_batchedtensor  # pyright: ignore
    return any(map(is_batched, cotangents))


@dataclass(frozen=True, eq=False)
class Call:
    """What is called, besides tensors: the kernel of a plan, outputs' names, and the way through.

    ``parameters`` are the names of the parameters' tensors.  ``again`` is what runs in the place of
    a kernel that torch can't record; by default the reference kernel of the plan.
    """

    kernel: Runner
    plan: Plan
    outputs: tuple[str, ...]
    parameters: tuple[str, ...]
    steps: Steps = EVEN
    again: Runner | None = None


class Recurrence(torch.autograd.Function):
    """``apply(call, number of states, number of fresh ones, x, *states, *fresh, *parameters)``.

    Gives the outputs [T, B, size] in the order of ``call.outputs``, and the final states [B, size].
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, call: Call, n_states: int, n_fresh: int, x: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        states, fresh = tensors[:n_states], tensors[n_states : n_states + n_fresh]
        parameters = dict(zip(call.parameters, tensors[n_states + n_fresh :], strict=True))
        run = call.kernel.forward(x, states, parameters, True, call.steps, fresh)
        ctx.call, ctx.n_states, ctx.n_fresh = call, n_states, n_fresh
        ctx.kept = tuple(run.residuals)
        outputs = [run.outputs[name] for name in call.outputs]
        # A residual may lie in an output's memory: saved, it has torch notice if someone writes
        # to it.
        ctx.save_for_backward(x, *tensors, *run.residuals.values(), *outputs)
        return (*outputs, *run.states)

    @staticmethod
    def backward(ctx: Any, *d: Tensor) -> tuple[Any, ...]:
        call, saved = cast(Call, ctx.call), ctx.saved_tensors
        x, states, saved = saved[0], saved[1 : 1 + ctx.n_states], saved[1 + ctx.n_states :]
        fresh, saved = saved[: ctx.n_fresh], saved[ctx.n_fresh :]
        n, n_outputs = len(call.parameters), len(call.outputs)
        parameters = dict(zip(call.parameters, saved[:n], strict=True))
        kernel = call.kernel
        if torch.is_grad_enabled() or torch_transforms() or _batched(d):
            if not kernel.differentiable:
                kernel = call.again or ReferenceKernel(call.plan)
            run: Run = kernel.forward(x, states, parameters, True, call.steps, fresh)
            residuals = run.residuals
        else:
            residuals = dict(zip(ctx.kept, saved[n : n + len(ctx.kept)], strict=True))
        d_outputs = dict(zip(call.outputs, d[:n_outputs], strict=True))
        found: Gradients = kernel.backward(residuals, d_outputs, d[n_outputs:], call.steps)
        d_x = found.outputs.get(call.plan.forward.graph.inputs[0].name)
        d_parameters = (found.outputs.get(name) for name in call.parameters)
        return (None, None, None, d_x, *found.states, *found.fresh, *d_parameters)
