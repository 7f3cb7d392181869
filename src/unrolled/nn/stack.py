"""Layers and directions: the recurrence of one cell, stacked.

Layer k reads the outputs of layer k - 1, those of both directions side by side, with dropout
between layers.  Data are flat with their runs (see ``sequences``), so that sequences of several
lengths cost as many steps as they have, and each direction of each sequence starts where it should:
forward a run takes the states of the sequences that go on; backward it adds the initial states of
those that begin.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.cell import Cell
from unrolled.nn.checks import Interface, autocasts
from unrolled.nn.sequences import (
    Input,
    Runs,
    States,
    batch_size,
    flatten,
    restore,
    states_in,
    states_out,
)
from unrolled.recurrence import recurrence

Params = Mapping[str, Tensor]
Layers = Sequence[Sequence[Params]]
"""The parameters of each direction of each layer."""


def call(
    cell: Cell,
    interface: Interface,
    layers: Layers,
    x: Input,
    given: States | None,
    *,
    dropout: float,
    backend: str,
) -> tuple[Input, States]:
    """Run a stack on a batch in any form that ``sequences`` knows.

    ``x`` and ``given``, the initial states (zeros for ``None``), have passed the checks of
    ``interface``; under autocast both are cast to the parameters' dtype, and all is computed in it,
    since the derived backward pass is that of one dtype.  ``dropout`` is the probability that
    applies now: 0 outside training.  Returns outputs and final states in the forms of ``x`` and
    ``given``.
    """
    batch_first = interface.batch_first
    data, runs = flatten(x, batch_first=batch_first)
    if given is None:
        shape = (interface.rows, batch_size(x, batch_first=batch_first))
        states = tuple(data.new_zeros(*shape, size) for _, size in interface.states)
    else:
        states = states_in(given, x)
    with contextlib.ExitStack() as scope:
        if autocasts(data):
            dtype = next(iter(layers[0][0].values()), data).dtype
            data, states = data.to(dtype), tuple(s.to(dtype) for s in states)
            scope.enter_context(torch.autocast(data.device.type, enabled=False))
        data, states = _run(cell, data, runs, states, layers, dropout, backend)
    return restore(data, x, batch_first=batch_first), states_out(states, x)


def _run(
    cell: Cell,
    data: Tensor,
    runs: Runs,
    states: States,
    layers: Layers,
    dropout: float,
    backend: str,
) -> tuple[Tensor, States]:
    finals: list[States] = []
    for directions in layers:
        if finals and dropout:
            data = F.dropout(data, dropout)
        outputs: list[Tensor] = []
        for reverse, params in enumerate(directions):
            initial = tuple(s[len(finals)] for s in states)
            y, final = _direction(cell, data, runs, initial, params, bool(reverse), backend)
            outputs.append(y)
            finals.append(final)
        data = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
    return data, tuple(torch.stack(rows) for rows in zip(*finals, strict=True))


def _direction(
    cell: Cell,
    data: Tensor,
    runs: Runs,
    initial: States,
    params: Params,
    reverse: bool,
    backend: str,
) -> tuple[Tensor, States]:
    pieces = [
        piece.unflatten(0, (steps, batch))
        for piece, (steps, batch) in zip(data.split([t * b for t, b in runs]), runs, strict=True)
    ]
    order = pieces[::-1] if reverse else pieces
    states = tuple(s[: order[0].shape[1]] for s in initial)
    outputs: list[Tensor] = []
    ended: list[States] = []
    for piece in order:
        before, batch = states[0].shape[0], piece.shape[1]
        if batch < before:
            ended.append(tuple(s[batch:] for s in states))
            states = tuple(s[:batch] for s in states)
        elif batch > before:
            begun = (s[before:batch] for s in initial)
            states = tuple(torch.cat(pair) for pair in zip(states, begun, strict=True))
        y, states = recurrence(
            cell, piece.flip(0) if reverse else piece, states, params, backend=backend
        )
        outputs.append(y.flip(0) if reverse else y)
    if reverse:
        outputs.reverse()
    if len(runs) == 1:
        return outputs[0].flatten(0, 1), states
    states = tuple(torch.cat(rows) for rows in zip(states, *reversed(ended), strict=True))
    return torch.cat([y.flatten(0, 1) for y in outputs]), states
