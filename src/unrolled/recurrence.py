"""``recurrence``: a cell over a sequence, with the backward pass derived from its equations.

A call goes straight to a kernel; where torch looks on (``torch.compile``, ``torch.export``, fake
tensors), it goes to an operator (:mod:`unrolled.operators`) that torch sees as one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor

from unrolled import arguments, operators, operators_uneven
from unrolled.backends.checkpointed import Checkpoint, Checkpointed, segment
from unrolled.backends.protocol import Runner
from unrolled.cell import CELLS_BY_ID, Cell, as_cell
from unrolled.compiled import Compiled, compile_plan
from unrolled.differentiable import Call, Recurrence, torch_transforms, wanted
from unrolled.ir import Graph
from unrolled.lower import lower
from unrolled.packing import Lengths
from unrolled.steps import Steps
from unrolled.walk import unpacked, walk


def recurrence(
    cell: Cell,
    x: Tensor,
    state: Sequence[Tensor],
    params: Mapping[str, Tensor],
    backend: str = "auto",
    checkpoint: Checkpoint = None,
    *,
    noise: Mapping[str, Tensor] | None = None,
    lengths: Lengths | None = None,
    resets: Tensor | None = None,
    reset_to: Sequence[Tensor] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run ``cell`` over a sequence, time-major.

    ``x`` is [T, B, D], ``state`` one [B, size] per state of the cell, ``params`` a tensor for each
    of its parameters, all of one floating dtype and on one device.  Returns ``y``
    [T, B, output size] and the final states.  ``backend`` is ``"auto"`` or a backend's name.
    ``checkpoint`` trades one more forward run for memory: only the states before every so many
    steps are kept for the backward pass (``"sqrt"``: √T), the rest is computed again.
    ``noise`` is a tensor [T, B, size] for each noise of the cell, drawn by the caller; without it,
    the noise is its mean.

    ``lengths`` [B], whole numbers from 0 to T in any order, are the steps that each example has:
    ``y`` is zero past them, the final states are those after each example's last step, and the work
    goes with their sum.  ``resets`` [T, B] of bool puts the states of an example to ``reset_to``
    (states like ``state``, zeros by default) before that step.  ``reverse`` takes time from each
    example's last step to its first; resets are then borders that it meets from the other side.

    Within ``torch.func``'s transforms and forward-mode AD, for which kernels have no rules, the
    reference backend serves in the place of any other, without ``checkpoint``: torch transforms
    each of its operations.

    Raises ``TypeError`` or ``ValueError`` where an argument is missing, has the wrong shape, dtype
    or device, and :class:`CellError` where the cell can't be compiled.
    """
    cell = as_cell(cell)
    states = _tuple("state", state)
    if lengths is not None:
        _check_batch(x, states, reset_to, noise)
    packing, steps = (unpacked if operators.torch_looks_on() else walk)(
        x, lengths, resets, reverse=reverse
    )
    fresh: tuple[Tensor, ...] = ()
    if resets is not None:
        zeros = tuple(map(torch.zeros_like, states))
        fresh = zeros if reset_to is None else _tuple("reset_to", reset_to)
    elif reset_to is not None:
        raise ValueError("reset_to= says where resets= put the states, and there are no resets")
    drawn = dict(noise or {})
    if packing is not None:
        x, drawn = packing.pack(x), {name: packing.pack(m) for name, m in drawn.items()}
        states, fresh = tuple(map(packing.sort, states)), tuple(map(packing.sort, fresh))
    (y,), final = run(cell, x, states, params, drawn, backend, checkpoint, steps, fresh)
    if packing is None:
        return y, final
    return packing.unpack(y), tuple(map(packing.unsort, final))


def _check_batch(
    x: object,
    states: Sequence[object],
    fresh: Sequence[object] | None,
    noise: Mapping[str, object] | None,
) -> None:
    """Whether all have the batch of ``x``, which packing takes at its word."""
    if not isinstance(x, Tensor):
        raise TypeError(f"x must be a tensor, got {type(x).__name__}")
    if x.dim() != 3:
        raise ValueError(f"x must be [T, B, D], got the shape {list(x.shape)}")
    steps, batch = x.shape[:2]
    given = [("state", s) for s in states] + [("reset_to", s) for s in fresh or ()]
    for name, s in given:
        if not isinstance(s, Tensor):
            raise TypeError(f"{name} must hold tensors, got {type(s).__name__}")
        if s.dim() != 2 or s.shape[0] != batch:
            raise ValueError(f"{name} must be [B, size] with B = {batch}, got {list(s.shape)}")
    for name, m in (noise or {}).items():
        if not isinstance(m, Tensor) or m.shape[:2] != (steps, batch):
            got = list(m.shape) if isinstance(m, Tensor) else type(m).__name__
            expected = f"[T, B, size] = [{steps}, {batch}, …]"
            raise ValueError(f"noise {name} must be {expected}, got {got}")


def _tuple(name: str, states: object) -> tuple[Tensor, ...]:
    if not isinstance(states, (tuple, list)):
        raise TypeError(
            f"{name} must be a tuple with one tensor [B, size] per state, (h,) and not h; "
            f"got {type(states).__name__}"
        )
    return tuple(cast("Sequence[Tensor]", states))


def run(
    cell: Cell,
    x: Tensor,
    states: tuple[Tensor, ...],
    params: Mapping[str, Tensor],
    noise: Mapping[str, Tensor],
    backend: str,
    checkpoint: Checkpoint,
    steps: Steps,
    fresh: tuple[Tensor, ...],
    outputs: tuple[str, ...] = ("y",),
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The outputs of these names and the final states, of a sequence as ``steps`` has it.

    As :func:`recurrence`, for ``x`` [T, B, D] or packed [1, N, D] with its examples sorted.
    """
    if not noise:
        cell = cell.evaluated
    if operators.torch_looks_on():
        return _as_operator(
            cell, x, states, params, noise, backend, checkpoint, steps, fresh, outputs
        )
    if torch.jit.is_tracing():  # pyright: ignore[reportPrivateImportUsage]
        raise RuntimeError(
            "torch.jit.trace can't record compiled equations: take torch.export.export, or RNN, "
            "GRU or LSTM with backend='auto', without lengths and resets, which are traced as "
            "torch's own"
        )
    packed_form = steps.batch_sizes is not None
    sizes = arguments.sizes(cell, x, states, params, packed_form)
    _check_fresh(cell, states, fresh)
    if noise:
        arguments.check_noise(cell, x, noise, sizes)
    given = {**params, **noise}
    names = (*cell.parameters, *cell.noise)
    parameters = tuple(given[n] for n in names)
    wrt = wanted(cell.input, cell.states, names, x, (*states, *fresh), parameters)
    every = None
    if checkpoint is not None:
        n_steps = len(steps.batch_sizes) if steps.batch_sizes is not None else x.shape[0]
        every = segment(checkpoint, n_steps)
    if torch_transforms():
        wrt, backend = (), "reference"
    compiled = compile_step(cell, sizes, x.dtype, outputs, wrt, backend, x.device.type)
    if not wrt:
        done = compiled.kernel.forward(x, states, given, False, steps, fresh)
        return tuple(done.outputs[name] for name in outputs), done.states
    kernel: Runner = compiled.kernel
    if every is not None:
        kernel = Checkpointed(kernel, compiled.plan, every)
    call = Call(kernel, compiled.plan, outputs, names, steps)
    results = cast(
        tuple[Tensor, ...],
        Recurrence.apply(call, len(states), len(fresh), x, *states, *fresh, *parameters),
    )
    return results[: len(outputs)], results[len(outputs) :]


def _check_fresh(cell: Cell, states: tuple[Tensor, ...], fresh: tuple[Tensor, ...]) -> None:
    if not fresh:
        return
    if len(fresh) != len(states):
        raise ValueError(
            f"reset_to must have one tensor for each state, {len(states)}, got {len(fresh)}"
        )
    for spec, state, its in zip(cell.states, states, fresh, strict=True):
        if (its.shape, its.dtype, its.device) != (state.shape, state.dtype, state.device):
            raise ValueError(
                f"reset_to: state {spec.name} must be {list(state.shape)} of {state.dtype} on "
                f"{state.device}, as in state, got {list(its.shape)} of {its.dtype} on {its.device}"
            )


def _as_operator(
    cell: Cell,
    x: Tensor,
    states: tuple[Tensor, ...],
    params: Mapping[str, Tensor],
    noise: Mapping[str, Tensor],
    backend: str,
    checkpoint: Checkpoint,
    steps: Steps,
    fresh: tuple[Tensor, ...],
    outputs: tuple[str, ...],
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """The same call as one operator; the user's step is traced while the call is."""
    sizes = tuple(_fixed(s.shape[1:]) for s in states)
    shapes = tuple(_fixed(t.shape) for t in params.values())
    step = _step_text(id(cell), _fixed(x.shape[2:]), sizes, tuple(params), shapes, x.dtype, outputs)
    if noise.keys() != cell.noise.keys():
        raise TypeError(
            f"cell {cell.name} has the noise {', '.join(cell.noise) or 'none'}; "
            f"got {', '.join(noise)}"
        )
    given = [*(noise[name] for name in cell.noise), *(params[name] for name in cell.parameters)]
    plain = steps.lengths is None and steps.resets is None and outputs == ("y",)
    plain = plain and checkpoint is None
    if plain and not steps.opposite:
        y, final = torch.ops.unrolled.recurrence(step, backend, x, list(states), given)
        return (y,), tuple(final)
    if plain:
        given[: len(noise)] = [m.flip(0) for m in given[: len(noise)]]
        y, final = torch.ops.unrolled.recurrence(step, backend, x.flip(0), list(states), given)
        return (y.flip(0),), tuple(final)
    return operators_uneven.call(step, backend, checkpoint, steps, x, states, fresh, given)


def _fixed(shape: Sequence[int]) -> tuple[int, ...]:
    """The sizes as numbers, where torch.compile carries symbols; ``int`` would leave them."""
    return tuple(len(range(n)) for n in shape)


def _step_text(
    cell_id: int,
    x: tuple[int, ...],
    states: tuple[tuple[int, ...], ...],
    names: tuple[str, ...],
    shapes: tuple[tuple[int, ...], ...],
    dtype: torch.dtype,
    outputs: tuple[str, ...],
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
    graph = traced(cell, sizes, dtype)
    return operators.step_text(graph if outputs == ("y",) else graph.giving(outputs))


# What torch.compiler.assume_constant_result does, which imports the whole of torch._dynamo first:
# more than half of the time that our own import takes.
_step_text._dynamo_marked_constant = True  # type: ignore[attr-defined]


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
