"""The autograd function: a sequence forward and backward, one kernel call each.

The only one of the package.  Under ``create_graph`` the forward pass is run again on the
differentiable reference kernel, so that torch records the derived backward pass and can
differentiate it again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.autograd import forward_ad

from unrolled.backends.protocol import Gradients, Run
from unrolled.backends.reference import ReferenceKernel
from unrolled.compiled import Compiled


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

    The states' cotangents are carried in any case; they are named where nothing else is wanted.
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


class Recurrence(torch.autograd.Function):
    """``apply(compiled, number of states, parameter names, x, *states, *parameters)``.

    Gives ``y`` [T, B, size] and the final states [B, size].
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        compiled: Compiled,
        n_states: int,
        names: tuple[str, ...],
        x: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        states, parameters = tensors[:n_states], dict(zip(names, tensors[n_states:], strict=True))
        run = compiled.kernel.forward(x, states, parameters, keep=True)
        ctx.compiled, ctx.n_states, ctx.names = compiled, n_states, names
        ctx.kept = tuple(run.residuals)
        y = run.outputs["y"]
        # A residual may lie in y's memory: saved, y has torch notice if someone writes to it.
        ctx.save_for_backward(x, *tensors, *run.residuals.values(), y)
        return (y, *run.states)

    @staticmethod
    def backward(ctx: Any, *d: Tensor) -> tuple[Any, ...]:
        compiled, n, names = cast(Compiled, ctx.compiled), ctx.n_states, ctx.names
        saved = ctx.saved_tensors
        x, states = saved[0], saved[1 : 1 + n]
        parameters = dict(zip(names, saved[1 + n : 1 + n + len(names)], strict=True))
        kernel = compiled.kernel
        if torch.is_grad_enabled() or torch_transforms():
            kernel = kernel if kernel.differentiable else ReferenceKernel(compiled.plan)
            run: Run = kernel.forward(x, states, parameters, keep=True)
            residuals = run.residuals
        else:
            residuals = dict(zip(ctx.kept, saved[1 + n + len(names) : -1], strict=True))
        found: Gradients = kernel.backward(residuals, {"y": d[0]}, d[1:])
        d_x = found.outputs.get(compiled.plan.forward.graph.inputs[0].name)
        d_parameters = (found.outputs.get(name) for name in names)
        return (None, None, None, d_x, *found.states, *d_parameters)
