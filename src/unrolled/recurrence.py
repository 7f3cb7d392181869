"""``recurrence``: a cell over a sequence, with the backward pass derived from its equations.

A call goes straight to a kernel; where torch looks on (``torch.compile``, ``torch.export``, fake
tensors), it goes to an operator (:mod:`unrolled.operators`) that torch sees as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from math import isqrt
from typing import Literal, cast

import torch
from torch import Tensor

from unrolled import arguments, operators
from unrolled.backends.checkpointed import Checkpointed
from unrolled.cell import CELLS_BY_ID, Cell, as_cell
from unrolled.compiled import Compiled, compile_plan
from unrolled.differentiable import Recurrence, torch_transforms, wanted
from unrolled.ir import Graph
from unrolled.lower import lower


def recurrence(
    cell: Cell,
    x: Tensor,
    state: Sequence[Tensor],
    params: Mapping[str, Tensor],
    backend: str = "auto",
    checkpoint: int | Literal["sqrt"] | None = None,
    noise: Mapping[str, Tensor] | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run ``cell`` over a sequence, time-major.

    ``x`` is [T, B, D], ``state`` one [B, size] per state of the cell, ``params`` a tensor for each
    of its parameters, all of one floating dtype and on one device.  Returns ``y``
    [T, B, output size] and the final states.  ``backend`` is ``"auto"`` or a backend's name.
    ``checkpoint`` trades one more forward run for memory: only the states before every so many
    steps are kept for the backward pass (``"sqrt"``: √T), the rest is computed again.
    ``noise`` is a tensor [T, B, size] for each noise of the cell, drawn by the caller; without it,
    the noise is its mean.

    Within ``torch.func``'s transforms and forward-mode AD, for which kernels have no rules, the
    reference backend serves in the place of any other, without ``checkpoint``: torch transforms
    each of its operations.

    Raises ``TypeError`` or ``ValueError`` where an argument is missing, has the wrong shape, dtype
    or device, and :class:`CellError` where the cell can't be compiled.
    """
    cell = as_cell(cell)
    if not isinstance(state, (tuple, list)):
        raise TypeError(
            "state must be a tuple with one tensor [B, size] per state, (h,) and not h; "
            f"got {type(state).__name__}"
        )
    states, drawn = tuple(state), dict(noise or {})
    if not drawn:
        cell = cell.evaluated
    if operators.torch_looks_on():
        if checkpoint is not None:
            raise ValueError(
                "checkpoint= is for calls that run at once: under torch.compile, torch.export and "
                "fake tensors leave it out"
            )
        return _as_operator(cell, x, states, params, backend, drawn)
    sizes = arguments.sizes(cell, x, states, params)
    if drawn:
        arguments.check_noise(cell, x, drawn, sizes)
    given = {**params, **drawn}
    names = (*cell.parameters, *cell.noise)
    parameters = tuple(given[n] for n in names)
    wrt = wanted(cell.input, cell.states, names, x, states, parameters)
    every = None if checkpoint is None else _segment(checkpoint, x.shape[0])
    if torch_transforms():
        wrt, backend = (), "reference"
    compiled = compile_step(cell, sizes, x.dtype, ("y",), wrt, backend, x.device.type)
    if not wrt:
        run = compiled.kernel.forward(x, states, given, keep=False)
        return run.outputs["y"], run.states
    if every is not None:
        compiled = replace(compiled, kernel=Checkpointed(compiled.kernel, compiled.plan, every))
    y, *final = cast(
        tuple[Tensor, ...], Recurrence.apply(compiled, len(states), names, x, *states, *parameters)
    )
    return y, tuple(final)


def _as_operator(
    cell: Cell,
    x: Tensor,
    states: tuple[Tensor, ...],
    params: Mapping[str, Tensor],
    backend: str,
    noise: Mapping[str, Tensor],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The same call as one operator; the user's step is traced while the call is."""
    sizes = tuple(_fixed(s.shape[1:]) for s in states)
    shapes = tuple(_fixed(t.shape) for t in params.values())
    step = _step_text(id(cell), _fixed(x.shape[2:]), sizes, tuple(params), shapes, x.dtype)
    if noise.keys() != cell.noise.keys():
        raise TypeError(
            f"cell {cell.name} has the noise {', '.join(cell.noise) or 'none'}; "
            f"got {', '.join(noise)}"
        )
    given = [*(noise[name] for name in cell.noise), *(params[name] for name in cell.parameters)]
    y, final = torch.ops.unrolled.recurrence(step, backend, x, list(states), given)
    return y, tuple(final)


def _fixed(shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes as numbers, where torch.compile carries symbols; ``int`` would leave them."""
    return tuple(len(range(n)) for n in shape)


@torch.compiler.assume_constant_result
def _step_text(
    cell_id: int,
    x: tuple[int, ...],
    states: tuple[tuple[int, ...], ...],
    names: tuple[str, ...],
    shapes: tuple[tuple[int, ...], ...],
    dtype: torch.dtype,
) -> str:
    """The cell's step for these sizes, as operators take it; ``torch.compile`` runs it as it is.

    The shapes of ``x`` and ``states`` are without time and batch, which may have no number yet; a
    1 stands for them in messages.
    """
    cell = CELLS_BY_ID[cell_id]
    if len(x) != 1 or len(states) != len(cell.states) or {*names} != {*cell.parameters}:
        raise ValueError(
            f"cell {cell.name} takes x [T, B, D], the states "
            f"({', '.join(s.name for s in cell.states)}) and the parameters "
            f"{', '.join(cell.parameters) or 'none'}; got x of {len(x) + 2} dimensions, "
            f"{len(states)} state(s) and the parameters {', '.join(names) or 'none'}"
        )
    named = dict(zip(names, shapes, strict=True))
    sizes = arguments.step_sizes(cell, (1, *x), tuple((1, *s) for s in states), named)
    return operators.step_text(traced(cell, sizes, dtype))


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
    return compile_plan(lower(traced(cell, sizes, dtype), outputs, wrt), backend, device)


@lru_cache(maxsize=1024)
def traced(cell: Cell, sizes: tuple[tuple[str, int], ...], dtype: torch.dtype) -> Graph:
    """The cell's step as a Graph, traced once."""
    return cell.graph(dict(sizes), dtype)
