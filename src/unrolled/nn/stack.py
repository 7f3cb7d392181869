"""Layers and directions: the recurrences of cells, stacked.

Layer k reads the outputs of layer k - 1, those of both directions side by side, with dropout
between layers.  Data are flat with their runs (see ``sequences``), so that sequences of several
lengths cost as many steps as they have, and each direction of each sequence starts where it should:
forward a run takes the states of the sequences that go on; backward it adds the initial states of
those that begin.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.cell import Cell
from unrolled.nn.checks import Interface, StateGroup, autocasts
from unrolled.nn.noise import masks, over_steps
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
from unrolled.specs import NoiseSpec

Params = Mapping[str, Tensor]


@dataclass(frozen=True)
class Layer:
    """A cell, its parameters for each direction, and the noise to draw with its lengths."""

    cell: Cell
    directions: tuple[Params, ...]
    noise: tuple[tuple[NoiseSpec, int], ...] = ()


def call(
    interface: Interface,
    layers: Sequence[Layer],
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
        n = batch_size(x, batch_first=batch_first)
        states = tuple(
            data.new_zeros(group.rows, n, size)
            for group in interface.groups
            for _, size in group.states
        )
    else:
        states = states_in(given, x)
    with contextlib.ExitStack() as scope:
        if autocasts(data):
            dtype = next(iter(layers[0].directions[0].values()), data).dtype
            data, states = data.to(dtype), tuple(s.to(dtype) for s in states)
            scope.enter_context(torch.autocast(data.device.type, enabled=False))
        initial = _rows(interface.groups, states)
        data, finals = _run(data, runs, initial, layers, dropout, backend)
        states = _tensors(interface.groups, finals)
    return restore(data, x, batch_first=batch_first), states_out(states, x)


def _rows(groups: Sequence[StateGroup], states: States) -> list[States]:
    """The states [B, size] of each direction of each layer."""
    rows: list[States] = []
    given = iter(states)
    for group in groups:
        tensors = tuple(islice(given, len(group.states)))
        rows += [tuple(t[row] for t in tensors) for row in range(group.rows)]
    return rows


def _tensors(groups: Sequence[StateGroup], rows: Sequence[States]) -> States:
    """The mirror of :func:`_rows`."""
    given = iter(rows)
    return tuple(
        torch.stack(tensors)
        for group in groups
        for tensors in zip(*islice(given, group.rows), strict=True)
    )


def _run(
    data: Tensor,
    runs: Runs,
    initial: Sequence[States],
    layers: Sequence[Layer],
    dropout: float,
    backend: str,
) -> tuple[Tensor, list[States]]:
    finals: list[States] = []
    for layer in layers:
        if finals and dropout:
            data = F.dropout(data, dropout)
        outputs: list[Tensor] = []
        for reverse, params in enumerate(layer.directions):
            begin = initial[len(finals)]
            y, final = _direction(layer, data, runs, begin, params, bool(reverse), backend)
            outputs.append(y)
            finals.append(final)
        data = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
    return data, finals


def _direction(
    layer: Layer,
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
    drawn = masks(layer.noise, max(batch for _, batch in runs), data)
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
            layer.cell, piece.flip(0) if reverse else piece, states, params, backend=backend,
            noise=over_steps(layer.noise, drawn, piece),
        )  # fmt: skip
        outputs.append(y.flip(0) if reverse else y)
    if reverse:
        outputs.reverse()
    if len(runs) == 1:
        return outputs[0].flatten(0, 1), states
    states = tuple(torch.cat(rows) for rows in zip(states, *reversed(ended), strict=True))
    return torch.cat([y.flatten(0, 1) for y in outputs]), states
