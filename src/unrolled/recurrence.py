"""``recurrence``: a cell over a sequence, with the backward pass derived from its equations.

The only autograd function of the package.  Its forward and backward are one kernel call each; under
``create_graph`` the forward pass is run again on the differentiable reference kernel, so that torch
records the derived backward pass and can differentiate it again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import isqrt
from typing import Any, Literal, cast

import torch
from torch import Tensor

from unrolled.backends import select
from unrolled.backends.checkpointed import Checkpointed
from unrolled.backends.protocol import Gradients, Kernel, Run
from unrolled.backends.reference import ReferenceKernel
from unrolled.cell import Cell, as_cell
from unrolled.ir import Graph
from unrolled.lower import Plan, lower

DTYPES = (torch.float32, torch.float64)


@dataclass(frozen=True)
class Compiled:
    """A plan, the backend that was chosen for it, and its kernel."""

    plan: Plan
    backend: str
    kernel: Kernel


def recurrence(
    cell: Cell,
    x: Tensor,
    state: Sequence[Tensor],
    params: Mapping[str, Tensor],
    backend: str = "auto",
    checkpoint: int | Literal["sqrt"] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run ``cell`` over a sequence, time-major.

    ``x`` is [T, B, D], ``state`` one [B, size] per state of the cell, ``params`` a tensor for each
    of its parameters, all of one floating dtype and on one device.  Returns ``y``
    [T, B, output size] and the final states.  ``backend`` is ``"auto"`` or a backend's name.
    ``checkpoint`` trades one more forward run for memory: only the states before every so many
    steps are kept for the backward pass (``"sqrt"``: √T), the rest is computed again.

    Raises ``TypeError`` or ``ValueError`` where an argument is missing, has the wrong shape, dtype
    or device, and :class:`CellError` where the cell can't be compiled.
    """
    cell = as_cell(cell)
    if isinstance(state, Tensor):
        raise TypeError("state must be a tuple with one tensor [B, size] per state: (h,), not h")
    states = tuple(state)
    sizes = _check(cell, x, states, params)
    grad = torch.is_grad_enabled()
    names = tuple(cell.parameters)
    inputs = (x, *(params[n] for n in names))
    wrt = tuple(
        n for n, t in zip((cell.input, *names), inputs, strict=True) if grad and t.requires_grad
    )
    if grad and not wrt and any(s.requires_grad for s in states):
        wrt = tuple(s.name for s in cell.states)
    compiled = compile_step(cell, sizes, x.dtype, ("y",), wrt, backend, x.device.type)
    if not wrt:
        run = compiled.kernel.forward(x, states, dict(params), keep=False)
        return run.outputs["y"], run.states
    if checkpoint is not None:
        every = _segment(checkpoint, x.shape[0])
        compiled = replace(compiled, kernel=Checkpointed(compiled.kernel, compiled.plan, every))
    y, *final = cast(
        tuple[Tensor, ...], _Recurrence.apply(compiled, len(states), names, x, *states, *inputs[1:])
    )
    return y, tuple(final)


def _segment(checkpoint: int | str, n_steps: int) -> int:
    if checkpoint == "sqrt":
        return max(1, isqrt(n_steps))
    if not isinstance(checkpoint, int) or isinstance(checkpoint, bool) or checkpoint < 1:
        raise ValueError(
            f"checkpoint={checkpoint!r}: expected 'sqrt' or the number of steps from one kept "
            "state to the next, 1 or more"
        )
    return checkpoint


@lru_cache(maxsize=1024)
def compile_step(
    cell: Cell,
    sizes: tuple[tuple[str, int], ...],
    dtype: torch.dtype,
    outputs: tuple[str, ...],
    wrt: tuple[str, ...],
    backend: str,
    device: str = "cpu",
) -> Compiled:
    """Trace, lower and compile a cell's step, once for each set of sizes, dtype and derivatives."""
    plan = lower(traced(cell, sizes, dtype), outputs, wrt)
    chosen = select(plan, backend, device)
    return Compiled(plan, chosen.name, chosen.compile(plan))


@lru_cache(maxsize=1024)
def traced(cell: Cell, sizes: tuple[tuple[str, int], ...], dtype: torch.dtype) -> Graph:
    """The cell's step as a Graph, traced once."""
    return cell.graph(dict(sizes), dtype)


class _Recurrence(torch.autograd.Function):
    """Forward and backward of a whole sequence, one kernel call each."""

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
        if torch.is_grad_enabled():
            kernel = kernel if kernel.differentiable else ReferenceKernel(compiled.plan)
            run: Run = kernel.forward(x, states, parameters, keep=True)
            residuals = run.residuals
        else:
            residuals = dict(zip(ctx.kept, saved[1 + n + len(names) : -1], strict=True))
        found: Gradients = kernel.backward(residuals, {"y": d[0]}, d[1:])
        d_x = found.outputs.get(compiled.plan.forward.graph.inputs[0].name)
        d_parameters = (found.outputs.get(name) for name in names)
        return (None, None, None, d_x, *found.states, *d_parameters)


def _check(
    cell: Cell, x: Tensor, states: tuple[Tensor, ...], params: Mapping[str, Tensor]
) -> tuple[tuple[str, int], ...]:
    """The named sizes, after every argument has been found to fit."""
    names = ", ".join(cell.parameters) or "none"
    missing = [n for n in cell.parameters if n not in params]
    extra = [n for n in params if n not in cell.parameters]
    if missing or extra:
        wrong = f"missing: {', '.join(missing)}" if missing else f"not one: {', '.join(extra)}"
        raise TypeError(f"cell {cell.name} has the parameters {names}; {wrong}")
    state_names = ", ".join(s.name for s in cell.states)
    if len(states) != len(cell.states):
        raise ValueError(
            f"cell {cell.name} has {len(cell.states)} state(s) ({state_names}), got {len(states)}"
        )
    named = [("x", x), *((s.name, t) for s, t in zip(cell.states, states, strict=True))]
    for name, tensor in (*named, *params.items()):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a tensor, got {type(tensor).__name__}")
    if x.ndim != 3:
        raise ValueError(f"x must be [T, B, D], got the shape {list(x.shape)}")
    if x.dtype not in DTYPES:
        raise TypeError(
            f"x is {x.dtype}: expected torch.float32 or torch.float64; convert with x.float()"
        )
    for name, tensor in (*named, *params.items()):
        if tensor.dtype != x.dtype:
            raise TypeError(
                f"{name} is {tensor.dtype} and x is {x.dtype}: convert one to the other"
            )
        if tensor.device != x.device:
            raise ValueError(
                f"{name} is on {tensor.device} and x on {x.device}: move one to the other"
            )
    shapes = tuple((n, tuple(params[n].shape)) for n in cell.parameters)
    return _sizes(cell, tuple(x.shape[1:]), tuple(tuple(s.shape) for s in states), shapes)


@lru_cache(maxsize=4096)
def _sizes(
    cell: Cell,
    x: tuple[int, ...],
    states: tuple[tuple[int, ...], ...],
    params: tuple[tuple[str, tuple[int, ...]], ...],
) -> tuple[tuple[str, int], ...]:
    """The named sizes that these shapes ([B, D] for ``x``) imply, once for each set of shapes."""
    shapes = dict(params)
    found = cell.infer_sizes(x[1], [s[-1] if s else 0 for s in states], shapes)
    for name in cell.size_names():
        if name not in found:
            raise ValueError(
                f"cell {cell.name}: the size {name} does not follow from the shapes of x, "
                f"{', '.join((*(s.name for s in cell.states), *shapes))}: "
                "one of them does not fit its declaration"
            )
    others = {k: v for k, v in found.items() if k not in ("D", "H")}
    given = cell.resolve_sizes(x[1], found.get("H", 0), **others)
    expected = cell.parameter_shapes(given)
    for name, shape in shapes.items():
        if shape != expected[name]:
            declared = ", ".join(map(str, cell.parameters[name].shape))
            raise ValueError(
                f"parameter {name} is [{declared}] = {[int(n) for n in expected[name]]} at "
                f"{', '.join(f'{k}={v}' for k, v in given.items())}, got {list(shape)}"
            )
    for spec, size, shape in zip(cell.states, cell.state_sizes(given), states, strict=True):
        if shape != (x[0], size):
            raise ValueError(
                f"state {spec.name} must be [B, {spec.size}] = {[x[0], int(size)]}, "
                f"got {list(shape)}"
            )
    return tuple(given.items())
