"""The table of equations that Keras's layers and our cells share, and the weights of both.

Keras's weights stand at the right of row vectors, ``kernel`` [D, G*H], ``recurrent_kernel``
[H, G*H], ``bias`` [G*H] with G gates, so ours are their transposes.  Its GRU has the gates in the
order z, r, h, ours r, z, h; in both z keeps.  Its LSTM's i, f, c, o are ours i, f, g, o.  With
``reset_after`` its GRU is torch's, and ``bias`` [2, 3*H] holds the input's and the state's;
without, it is ``gru_cho``.

Source: keras/src/layers/rnn/{simple_rnn,gru,lstm}.py of Keras 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from unrolled.cell import Cell
from unrolled.cells import elman, gru, gru_cho, lstm, lstm_one_bias, rnn

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, eq=False)
class KerasLayer:
    """A Keras layer as data.

    ``config`` may leave out what is at Keras 3's default; ``weights`` are in the order of
    ``get_weights()``.
    """

    class_name: str
    config: Mapping[str, Any]
    weights: Sequence[Array]

    def serialized(self) -> dict[str, Any]:
        """What ``keras.layers.deserialize`` makes the layer of, without its weights."""
        return serialized(self.class_name, self.config)


def serialized(class_name: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """A class of Keras's own layers and its configuration, as Keras 3 writes them."""
    return {"module": "keras.layers", "class_name": class_name, "config": dict(config)}


@dataclass(frozen=True)
class Form:
    """A cell and the Keras layer with its equations.

    ``weights`` and ``biases`` are the cell's parameters for ``kernel`` and ``recurrent_kernel``,
    and those that make up ``bias``: one below the other, or added.  ``gates`` says where Keras has
    each of the cell's gates; both orders that occur are their own inverse.
    """

    cell: Cell
    class_name: str
    weights: tuple[str, str]
    biases: tuple[str, ...]
    gates: tuple[int, ...] = (0,)
    reset_after: bool | None = None


ELMAN = Form(elman, "SimpleRNN", ("W_xh", "W_hh"), ("b_h",))
GRU_AFTER = Form(gru, "GRU", ("W_ih", "W_hh"), ("b_ih", "b_hh"), (1, 0, 2), True)
GRU_BEFORE = Form(gru_cho, "GRU", ("W", "U"), ("b",), (1, 0, 2), False)
ONE_BIAS = Form(lstm_one_bias, "LSTM", ("W", "U"), ("b",), (0, 1, 2, 3))
TORCH_RNN = Form(rnn, "SimpleRNN", ("W_ih", "W_hh"), ("b_ih", "b_hh"))
TORCH_LSTM = Form(lstm, "LSTM", ("W_ih", "W_hh"), ("b_ih", "b_hh"), (0, 1, 2, 3))

FROM_KERAS = (ELMAN, GRU_AFTER, GRU_BEFORE, ONE_BIAS)
TO_KERAS = {form.cell.function: form for form in (*FROM_KERAS, TORCH_RNN, TORCH_LSTM)}

ACTIVATIONS = {
    "tanh": "tanh",
    "relu": "relu",
    "sigmoid": "sigmoid",
    "softmax": "softmax",
    "linear": "identity",
}
"""Of a SimpleRNN: Keras's name and the option ``nonlinearity`` of ``elman``."""

FLOATS = ("float16", "float32", "float64")


@lru_cache(maxsize=64)
def bound(form: Form, use_bias: bool, nonlinearity: str) -> Cell:
    """The form's cell with these options; one for all calls, as a cell is compiled once."""
    values: dict[str, Any] = {} if use_bias else dict.fromkeys(form.biases, 0.0)
    if nonlinearity != form.cell.options.get("nonlinearity", "tanh"):
        values["nonlinearity"] = nonlinearity
    return form.cell.bind(**values) if values else form.cell


def our_parameters(form: Form, weights: Sequence[Array]) -> dict[str, Array]:
    """The cell's parameters, of the weights of one direction of a Keras layer."""
    kernel, recurrent, *bias = weights
    found = dict(zip(form.weights, (_rows(kernel.T, form), _rows(recurrent.T, form)), strict=True))
    for values in bias:
        parts = values if form.reset_after else (values,)
        found |= {n: _rows(b, form) for n, b in zip(form.biases, parts, strict=True)}
    return found


def keras_weights(form: Form, cell: Cell, values: Mapping[str, Array]) -> list[Array]:
    """The mirror of :func:`our_parameters`; where Keras has one bias, the cell's are added.

    ``values`` has what the cell holds at numbers too.
    """
    weights = [np.ascontiguousarray(_rows(values[n], form).T) for n in form.weights]
    if not has_bias(form, cell):
        return weights
    biases = [_rows(values[n], form) for n in form.biases]
    return [*weights, np.stack(biases) if form.reset_after else np.sum(biases, axis=0)]


def has_bias(form: Form, cell: Cell) -> bool:
    """Whether any bias of the cell is trained, or held at another number than 0."""
    return any(n not in cell.held or cell.held[n].init != 0.0 for n in form.biases)


def _rows(values: Array, form: Form) -> Array:
    """The blocks of rows, one a gate, from Keras's order to the cell's or back."""
    blocks = np.split(values, len(form.gates))
    return np.concatenate([blocks[k] for k in form.gates])
