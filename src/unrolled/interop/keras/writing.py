"""``to_keras``: our layers as Keras's, as data that Keras takes."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.cells import elman, rnn
from unrolled.interop.keras.forms import (
    ACTIVATIONS,
    FLOATS,
    TO_KERAS,
    Array,
    Form,
    KerasLayer,
    has_bias,
    keras_weights,
    serialized,
)
from unrolled.interop.recognise import article
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.nn.evaluated import evaluated
from unrolled.nn.parameters import held
from unrolled.nn.torch_cells import TORCH_NAMES


def to_keras(module: Recurrent | RNN | GRU | LSTM) -> tuple[KerasLayer, ...]:
    """The Keras layers with a module's equations and weights, from the bottom up.

    To make a layer of each: ``layer = keras.layers.deserialize(each.serialized())``, then
    ``layer.build((None, None, input_size))`` and ``layer.set_weights(each.weights)``.  Keras has
    one bias where torch's RNN and LSTM have two: they are added.  A layer whose parameters are all
    frozen is not trainable there either.  Keras is batch-first, whatever
    ``module`` is.  Dropout between layers is left out with a warning.

    Raises ``TypeError`` for another module, and ``ValueError`` for a cell that Keras has no layer
    of, or a dtype that numpy doesn't have.
    """
    if not isinstance(module, (Recurrent, RNN, GRU, LSTM)):
        raise TypeError(
            "to_keras: expected unrolled's RNN, GRU, LSTM or Recurrent, "
            f"got {article(type(module).__name__)}; ur.from_torch makes ours of torch's"
        )
    cells = module.cells if isinstance(module, Recurrent) else (module.cell,) * module.num_layers
    forms = [_form(cell) for cell in cells]
    names = {} if isinstance(module, Recurrent) else TORCH_NAMES
    if module.dropout and module.num_layers > 1:
        warnings.warn(
            f"to_keras: dropout={module.dropout} between the layers is left out; it acts in "
            f"training alone: put keras.layers.Dropout({module.dropout}) between them",
            stacklevel=2,
        )
    if isinstance(module, Recurrent) and module.learn_initial:
        raise ValueError("to_keras: learn_initial=True, and Keras's layers begin with zeros")
    widths = module.hidden_size
    widths = (widths,) * module.num_layers if isinstance(widths, int) else widths
    layers: list[KerasLayer] = []
    inputs = module.input_size
    for layer, (cell, form, width) in enumerate(zip(cells, forms, widths, strict=True)):
        weights: list[Array] = []
        for suffix in ("", "_reverse")[: 1 + module.bidirectional]:
            own = {
                n: evaluated(module, f"{names.get(n, n)}_l{layer}{suffix}") for n in cell.parameters
            }
            dtype = next(iter(own.values()), torch.empty(0)).dtype
            own |= held(cell, {"D": inputs, "H": width}, dtype)
            weights += keras_weights(form, cell, {n: _array(t) for n, t in own.items()})
        class_name, config = form.class_name, _config(form, cell, int(width), weights)
        if not _is_trained(module, layer):
            config["trainable"] = False
        if module.bidirectional:
            inner = serialized(class_name, config)
            shared = {k: v for k, v in config.items() if k in ("dtype", "trainable")}
            config = {"layer": inner, "merge_mode": "concat", **shared}
            class_name = "Bidirectional"
        layers.append(KerasLayer(class_name, config, tuple(weights)))
        inputs = width * (1 + module.bidirectional)
    return tuple(layers)


def _form(cell: Cell) -> Form:
    if cell.function not in TO_KERAS:
        known = ", ".join(form.cell.name for form in TO_KERAS.values())
        loaded = ", whose equations come from a file" if cell.graphs else ""
        own = "unrolled.cells' " if cell.graphs else ""
        raise ValueError(
            f"to_keras: Keras has no layer of cell {cell.name}{loaded}; it has those of "
            f"{own}{known}"
        )
    return TO_KERAS[cell.function]


def _is_trained(module: nn.Module, layer: int) -> bool:
    """Whether a layer's parameters are; a warning where some are and some are not."""
    own = re.compile(rf"_l{layer}(_reverse)?(_orig|\..+)?$")
    trained = {p.requires_grad for n, p in module.named_parameters() if own.search(n)}
    if len(trained) > 1:
        warnings.warn(
            f"to_keras: some parameters of layer {layer} are frozen, and a Keras layer is "
            "trained as a whole or not at all: this one is trainable",
            stacklevel=3,
        )
    return trained != {False}


def _config(form: Form, cell: Cell, units: int, weights: Sequence[Array]) -> dict[str, Any]:
    ours = cell.options.get("nonlinearity", "tanh")
    config: dict[str, Any] = {
        "units": units,
        "activation": next(theirs for theirs, name in ACTIVATIONS.items() if name == ours),
        "use_bias": has_bias(form, cell),
        "return_sequences": True,
        "dtype": weights[0].dtype.name,
    }
    if form.cell not in (elman, rnn):
        config["recurrent_activation"] = "sigmoid"
    if form.reset_after is not None:
        config["reset_after"] = form.reset_after
    return config


def _array(parameter: Tensor) -> Array:
    dtype = str(parameter.dtype).removeprefix("torch.")
    if dtype not in FLOATS:
        raise ValueError(f"to_keras: parameters of {dtype}; numpy has no such type: module.float()")
    return parameter.detach().cpu().numpy()
