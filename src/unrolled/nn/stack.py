"""Layers and directions: the recurrences of cells, stacked.

Layer k reads the outputs of layer k - 1, those of both directions side by side, with dropout
between layers.  Sequences of several lengths stay packed from the first layer to the last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence

from unrolled.backends.checkpointed import Checkpoint
from unrolled.cell import Cell
from unrolled.nn.checks import StateGroup, autocasts
from unrolled.nn.noise import draw
from unrolled.nn.sequences import Batch, States
from unrolled.recurrence import run
from unrolled.specs import NoiseSpec

Params = Mapping[str, Tensor]
Extras = dict[str, tuple[Tensor | PackedSequence, ...]]
"""Further outputs by name, one for each layer and direction."""


@dataclass(frozen=True)
class Layer:
    """A cell, its parameters for each direction, and the noise to draw with its lengths."""

    cell: Cell
    directions: tuple[Params, ...]
    noise: tuple[tuple[NoiseSpec, int], ...] = ()


RunLayer = Callable[..., tuple[tuple[Tensor, ...], States]]
"""What runs one direction of one layer: it takes and gives what ``recurrence.run`` does."""


@dataclass(frozen=True)
class Options:
    """How a stack runs.

    ``dropout`` is the probability that applies now, 0 outside training.  ``run_layer`` is called
    for each layer and direction in turn.
    """

    dropout: float
    backend: str
    checkpoint: Checkpoint = None
    outputs: tuple[str, ...] = ()
    run_layer: RunLayer = run


def call(
    groups: Sequence[StateGroup],
    layers: Sequence[Layer],
    batch: Batch,
    states: States,
    fresh: States,
    options: Options,
) -> tuple[Tensor | PackedSequence, States, Extras]:
    """Run a stack on a batch from its initial states, in the form of ``groups``.

    Under autocast all are cast to the parameters' dtype, and all is computed in it, since the
    derived backward pass is that of one dtype.  ``fresh``, of the form of ``states``, is what the
    batch's resets put in; empty where it has none.  Returns outputs and final states in the form
    that came.
    """
    data = batch.data
    states, fresh = batch.states_in(states), batch.states_in(fresh)
    if not autocasts(data):
        return _run(groups, layers, batch, data, states, fresh, options)
    dtype = next(iter(layers[0].directions[0].values()), data).dtype
    data, states = data.to(dtype), tuple(s.to(dtype) for s in states)
    fresh = tuple(s.to(dtype) for s in fresh)
    with torch.autocast(data.device.type, enabled=False):
        return _run(groups, layers, batch, data, states, fresh, options)


def rows(groups: Sequence[StateGroup], states: Sequence[Tensor]) -> list[States]:
    """The states [B, size] of each direction of each layer."""
    found: list[States] = []
    given = iter(states)
    for group in groups:
        of_group = tuple(islice(given, len(group.states)))
        found += [tuple(t[row] for t in of_group) for row in range(group.rows)]
    return found


def tensors(groups: Sequence[StateGroup], states: Sequence[States]) -> States:
    """The mirror of :func:`rows`."""
    given = iter(states)
    return tuple(
        torch.stack(of_rows)
        for group in groups
        for of_rows in zip(*islice(given, group.rows), strict=True)
    )


def _run(
    groups: Sequence[StateGroup],
    layers: Sequence[Layer],
    batch: Batch,
    data: Tensor,
    states: States,
    fresh: States,
    options: Options,
) -> tuple[Tensor | PackedSequence, States, Extras]:
    initial = rows(groups, states)
    put_in = rows(groups, fresh) if fresh else [()] * len(initial)
    finals: list[States] = []
    extras: dict[str, list[Tensor]] = {name: [] for name in options.outputs}
    for k, layer in enumerate(layers):
        names = named_outputs(options.outputs, k, len(layers))
        own_names = tuple(dict.fromkeys(names.values()))
        if finals and options.dropout:
            data = F.dropout(data, options.dropout)
        outputs: list[Tensor] = []
        for params, steps in zip(layer.directions, batch.steps, strict=False):
            row = len(finals)
            (y, *others), final = options.run_layer(
                layer.cell, data, initial[row], params, draw(layer.noise, batch.size, data, steps),
                options.backend, options.checkpoint, steps, put_in[row], ("y", *own_names),
            )  # fmt: skip
            outputs.append(y)
            finals.append(final)
            values = dict(zip(own_names, others, strict=True))
            for name, own in names.items():
                extras[name].append(values[own])
        data = outputs[0] if len(outputs) == 1 else torch.cat(outputs, -1)
    restored = {name: tuple(map(batch.restore, values)) for name, values in extras.items()}
    return batch.restore(data), batch.states_out(tensors(groups, finals)), restored


def named_outputs(outputs: Sequence[str], layer: int, n_layers: int) -> dict[str, str]:
    """Those of ``outputs`` that a layer gives, each with its name in the layer's cell.

    ``c`` is the value of every layer, ``c_l1`` that of the layer 1 alone.  ``ValueError`` for a
    layer that there is not.
    """
    found: dict[str, str] = {}
    for name in outputs:
        own, _, number = name.rpartition("_l")
        if not own or not number.isdecimal():
            found[name] = name
        elif int(number) >= n_layers:
            raise ValueError(
                f"outputs: {name} is of layer {number}, and the layers are 0 … {n_layers - 1}"
            )
        elif int(number) == layer:
            found[name] = own
    return found
