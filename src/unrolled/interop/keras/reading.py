"""``from_keras``: Keras's layers as ours, from what ``get_config()`` and ``get_weights()`` say."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol, cast

import numpy as np
import torch
from torch import nn
from torch.nn.parameter import Parameter

from unrolled.cell import Cell
from unrolled.cells import elman
from unrolled.interop.keras.forms import (
    ACTIVATIONS,
    FLOATS,
    FROM_KERAS,
    Array,
    Form,
    KerasLayer,
    bound,
    our_parameters,
)
from unrolled.interop.recognise import article
from unrolled.nn import Recurrent

DROPOUTS = ("dropout", "recurrent_dropout")


class _Layer(Protocol):
    """What is asked of a ``keras.layers.Layer``."""

    def get_config(self) -> dict[str, Any]: ...
    def get_weights(self) -> list[Array]: ...


@dataclass(frozen=True)
class _Read:
    """One Keras layer: its equations, and its parameters under the cell's names by direction."""

    cell: Cell
    units: int
    input_size: int
    trainable: bool
    dropouts: tuple[str, ...]
    directions: tuple[dict[str, Array], ...]


def from_keras(
    layer: _Layer | KerasLayer, *above: _Layer | KerasLayer, backend: str = "auto"
) -> Recurrent:
    """A Keras layer, or a stack of them from the bottom up, as one batch-first ``Recurrent``.

    Takes ``SimpleRNN`` (``elman``), ``GRU`` (``gru`` with ``reset_after``, else ``gru_cho``),
    ``LSTM`` (``lstm_one_bias``) and ``Bidirectional`` of them with ``merge_mode="concat"``; the
    weights are copied, and those of a layer that is not trainable are frozen.  The layers of a
    stack may have several cells and widths.  All outputs and the final states are returned whatever
    ``return_sequences`` and ``return_state`` say; what Keras returns without them is the first of
    the final states, of both directions side by side.
    Regularizers, constraints and initializers are Keras's business and are left out, and so is
    ``dropout``, with a warning, since it acts in training alone.

    Raises ``TypeError`` for another layer, ``ValueError`` for an activation that the cell doesn't
    have, an option that changes the outputs (``go_backwards``, ``stateful``, another
    ``merge_mode``), weights that don't fit, or layers that can't be one stack.
    """
    layers = [_read(_as_data(each)) for each in (layer, *above)]
    for number, each in enumerate(layers):
        if each.dropouts:
            warnings.warn(
                f"from_keras: {' and '.join(each.dropouts)} of layer {number} "
                "is left out: it acts in training alone",
                stacklevel=2,
            )
    first = layers[0]
    for number, (below, other) in enumerate(pairwise(layers), 1):
        expected = len(below.directions) * below.units
        if (len(other.directions), other.input_size) != (len(first.directions), expected):
            raise ValueError(
                f"from_keras: layer {number} is {_describe(other)}, the one below it "
                f"{_describe(below)}; in a stack all run in the same directions, and layer "
                f"{number} reads {expected} values: convert the layers one by one"
            )
    recurrent = Recurrent(
        [each.cell for each in layers], first.input_size, [each.units for each in layers],
        batch_first=True,
        bidirectional=len(first.directions) == 2, backend=backend, device="meta",
    )  # fmt: skip
    for number, each in enumerate(layers):
        for suffix, parameters in zip(("", "_reverse"), each.directions, strict=False):
            for name, values in parameters.items():
                parameter = Parameter(torch.tensor(values), requires_grad=each.trainable)
                setattr(recurrent, f"{name}_l{number}{suffix}", parameter)
    return recurrent


def _as_data(layer: _Layer | KerasLayer) -> KerasLayer:
    if isinstance(layer, KerasLayer):
        return layer
    name = type(layer).__name__
    if isinstance(layer, nn.Module) and not hasattr(layer, "get_config"):
        raise TypeError(f"from_keras: expected a Keras layer, got the torch module {name}")
    if not (hasattr(layer, "get_config") and hasattr(layer, "get_weights")):
        raise TypeError(f"from_keras: expected a Keras layer or a KerasLayer, got {article(name)}")
    return KerasLayer(name, layer.get_config(), layer.get_weights())


def _read(layer: KerasLayer) -> _Read:
    if layer.class_name != "Bidirectional":
        return _read_directions(layer.class_name, (layer.config,), layer.weights)
    merge = layer.config.get("merge_mode", "concat")
    inner = _entry(layer.config, "layer", layer.class_name)
    if merge != "concat":
        raise ValueError(
            f"from_keras: Bidirectional with merge_mode={merge!r}; ours puts both directions side "
            "by side: set layer.merge_mode = 'concat', and merge the halves yourself, "
            "forward, backward = y.chunk(2, -1)"
        )
    backward = layer.config.get("backward_layer") or {
        "class_name": inner["class_name"],
        "config": {**inner["config"], "go_backwards": True},
    }
    if backward["class_name"] != inner["class_name"]:
        raise ValueError(
            f"from_keras: Bidirectional of {inner['class_name']} and {backward['class_name']}; "
            "both directions of ours have one cell: convert the two layers one by one"
        )
    trainable = layer.config.get("trainable", True)
    configs = [
        {**config, "trainable": trainable and config.get("trainable", True)}
        for config in (inner["config"], backward["config"])
    ]
    return _read_directions(inner["class_name"], configs, layer.weights)


def _read_directions(
    class_name: str, configs: Sequence[Mapping[str, Any]], weights: Sequence[Array]
) -> _Read:
    form = _form(class_name, configs[0])
    cells = [_cell(form, config, reverse=bool(k)) for k, config in enumerate(configs)]
    sizes = [int(_entry(config, "units", class_name)) for config in configs]
    if len({*zip(sizes, cells, strict=True)}) > 1 or _form(class_name, configs[-1]) is not form:
        raise ValueError(
            "from_keras: the two layers of Bidirectional differ in units, activation, use_bias or "
            "reset_after; both directions of ours have one cell and size: convert them one by one"
        )
    arrays = [np.asarray(w) for w in weights]
    per = len(arrays) // len(configs)
    _check_weights(form, cells[0], sizes[0], len(configs), arrays)
    return _Read(
        cells[0],
        sizes[0],
        arrays[0].shape[0],
        all(config.get("trainable", True) for config in configs),
        tuple(f"{n}={configs[0][n]}" for n in DROPOUTS if configs[0].get(n)),
        tuple(our_parameters(form, arrays[k * per : (k + 1) * per]) for k in range(len(configs))),
    )


def _entry(config: Mapping[str, Any], name: str, class_name: str) -> Any:
    if name not in config:
        raise ValueError(
            f"from_keras: the configuration of {class_name} has no {name!r}; "
            "give what layer.get_config() returns"
        )
    return config[name]


def _form(class_name: str, config: Mapping[str, Any]) -> Form:
    reset_after = bool(config.get("reset_after", True)) if class_name == "GRU" else None
    for form in FROM_KERAS:
        if (form.class_name, form.reset_after) == (class_name, reset_after):
            return form
    raise TypeError(
        "from_keras: expected SimpleRNN, GRU, LSTM or Bidirectional of one of them, "
        f"got {class_name}"
    )


def _cell(form: Form, config: Mapping[str, Any], *, reverse: bool) -> Cell:
    """The cell with the layer's options; ``ValueError`` for one that would change the outputs."""
    name = form.class_name
    if bool(config.get("go_backwards", False)) != reverse:
        raise ValueError(
            f"from_keras: {name} with go_backwards={not reverse}; ours runs forward: set "
            "layer.go_backwards = False, and give it the sequences reversed, x.flip(1)"
        )
    if config.get("stateful", False):
        raise ValueError(
            f"from_keras: {name} with stateful=True; ours keeps nothing from call to call: set "
            "layer.stateful = False, and hand the states on, y, state = layer(x, state)"
        )
    chosen = _activation_name(config.get("activation", "tanh"))
    known = tuple(ACTIVATIONS) if form.cell is elman else ("tanh",)
    _check_activation(form, "activation", chosen, known)
    if form.cell is not elman:
        gate = _activation_name(config.get("recurrent_activation", "sigmoid"))
        _check_activation(form, "recurrent_activation", gate, ("sigmoid",))
    return bound(form, bool(config.get("use_bias", True)), ACTIVATIONS[chosen])


def _activation_name(value: object) -> str:
    # Keras writes a function of its own as a name, and one of the user's as a dict.
    if isinstance(value, Mapping):
        value = cast(Mapping[str, object], value).get("config", value)
    return "linear" if value is None else str(value)


def _check_activation(form: Form, option: str, found: str, known: Iterable[str]) -> None:
    if found not in known:
        raise ValueError(
            f"from_keras: {form.class_name} with {option}={found!r}; cell {form.cell.name} has "
            f"{' or '.join(known)} there: write the cell with yours, @ur.cell, and give a "
            "Recurrent of it the weights"
        )


def _check_weights(
    form: Form, cell: Cell, units: int, directions: int, weights: Sequence[Array]
) -> None:
    width = len(form.gates) * units
    shapes = [["D", width], [units, width]]
    if not cell.held:
        shapes.append([2, width] if form.reset_after else [width])
    first = weights[0].shape[:1] if weights else ()
    expected = [[*first, width] if s[0] == "D" else s for s in shapes] * directions
    if [list(w.shape) for w in weights] != expected:
        wanted = ", ".join(map(_shape, shapes * directions))
        got = ", ".join(_shape(list(w.shape)) for w in weights) or "none; build the layer first"
        raise ValueError(
            f"from_keras: {form.class_name} of {units} units has weights {wanted}; got {got}"
        )
    for w in weights:
        if w.dtype.name not in FLOATS:
            raise ValueError(
                f"from_keras: weights of dtype {w.dtype.name}, expected {', '.join(FLOATS)}; "
                "give a KerasLayer with w.astype('float32')"
            )


def _shape(sizes: Sequence[object]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


def _describe(layer: _Read) -> str:
    directions = "both directions" if len(layer.directions) == 2 else "one direction"
    return f"{layer.cell.name} of {layer.units} units and {layer.input_size} inputs, {directions}"
