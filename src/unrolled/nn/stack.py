"""Layers and directions: the recurrence of one cell, stacked.

Layer k reads the outputs of layer k - 1, those of both directions side by side, with dropout
between layers.  Sequences of several lengths stay packed from the first layer to the last.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from unrolled.cell import Cell
from unrolled.nn.checks import autocasts
from unrolled.nn.sequences import Batch, States
from unrolled.recurrence import Checkpoint, run

Params = Mapping[str, Tensor]
Layers = Sequence[Sequence[Params]]
"""The parameters of each direction of each layer."""
Extras = dict[str, tuple[Tensor | PackedSequence, ...]]
"""Further outputs by name, one for each layer and direction."""


@dataclass(frozen=True)
class Options:
    """How a stack runs: ``dropout`` is the probability that applies now, 0 outside training."""

    dropout: float
    backend: str
    checkpoint: Checkpoint = None
    outputs: tuple[str, ...] = ()


def call(
    cell: Cell, layers: Layers, batch: Batch, states: States, fresh: States, options: Options
) -> tuple[Tensor | PackedSequence, States, Extras]:
    """Run a stack on a batch from its initial states, [rows, B, size] in the batch's own order.

    Under autocast all are cast to the parameters' dtype, and all is computed in it, since the
    derived backward pass is that of one dtype.  ``fresh``, of the form of ``states``, is what the
    batch's resets put in; empty where it has none.  Returns outputs and final states in the form
    that came.
    """
    data = batch.data
    states, fresh = batch.states_in(states), batch.states_in(fresh)
    with contextlib.ExitStack() as scope:
        if autocasts(data):
            dtype = next(iter(layers[0][0].values()), data).dtype
            data, states = data.to(dtype), tuple(s.to(dtype) for s in states)
            fresh = tuple(s.to(dtype) for s in fresh)
            scope.enter_context(torch.autocast(data.device.type, enabled=False))
        y, final, extras = _run(cell, layers, batch, data, states, fresh, options)
    return batch.restore(y), batch.states_out(final), extras


def _run(
    cell: Cell,
    layers: Layers,
    batch: Batch,
    data: Tensor,
    states: States,
    fresh: States,
    options: Options,
) -> tuple[Tensor, States, Extras]:
    finals: list[States] = []
    extras: dict[str, list[Tensor]] = {name: [] for name in options.outputs}
    for directions in layers:
        if finals and options.dropout:
            data = F.dropout(data, options.dropout)
        outputs: list[Tensor] = []
        for params, steps in zip(directions, batch.steps, strict=False):
            row = len(finals)
            (y, *others), final = run(
                cell, data, tuple(s[row] for s in states), params, options.backend,
                options.checkpoint, steps, tuple(s[row] for s in fresh),
                ("y", *options.outputs),
            )  # fmt: skip
            outputs.append(y)
            finals.append(final)
            for name, value in zip(options.outputs, others, strict=True):
                extras[name].append(value)
        data = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
    restored = {name: tuple(map(batch.restore, values)) for name, values in extras.items()}
    return data, tuple(torch.stack(rows) for rows in zip(*finals, strict=True)), restored
