"""What ``from_keras`` and ``to_keras`` refuse, and what they say to do instead."""

from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

import unrolled as ur
from unrolled import cells
from unrolled.interop import KerasLayer, from_keras, to_keras

D, H = 4, 5


def built(layer: Any, inputs: int = D) -> Any:
    layer.build((None, None, inputs))
    return layer


def silu_twice(v: Any) -> Any:
    return keras.ops.silu(keras.ops.silu(v))


OWN: Any = silu_twice


REFUSED_VALUES: dict[str, tuple[Any, str]] = {
    "activation": (
        keras.layers.GRU(H, activation="relu"),
        "GRU with activation='relu'; cell gru has tanh there: write the cell with yours, @ur.cell, "
        "and give a Recurrent of it the weights",
    ),
    "old recurrent activation": (
        keras.layers.LSTM(H, recurrent_activation="hard_sigmoid"),
        "LSTM with recurrent_activation='hard_sigmoid'; cell lstm_one_bias has sigmoid there: "
        "write the cell with yours, @ur.cell, and give a Recurrent of it the weights",
    ),
    "own activation": (
        keras.layers.SimpleRNN(H, activation=OWN),
        "SimpleRNN with activation='silu_twice'; cell elman has tanh or relu or sigmoid or "
        "softmax or linear there: write the cell with yours, @ur.cell, and give a Recurrent of it "
        "the weights",
    ),
    "go_backwards": (
        keras.layers.GRU(H, go_backwards=True),
        "GRU with go_backwards=True; ours runs forward: set layer.go_backwards = False, and give "
        "it the sequences reversed, x.flip(1)",
    ),
    "stateful": (
        keras.layers.GRU(H, stateful=True),
        "GRU with stateful=True; ours keeps nothing from call to call: set layer.stateful = False, "
        "and hand the states on, y, state = layer(x, state)",
    ),
    "merge_mode": (
        keras.layers.Bidirectional(keras.layers.GRU(H), merge_mode="sum"),
        "Bidirectional with merge_mode='sum'; ours puts both directions side by side: set "
        "layer.merge_mode = 'concat', and merge the halves yourself, "
        "forward, backward = y.chunk(2, -1)",
    ),
    "directions of two classes": (
        keras.layers.Bidirectional(
            keras.layers.GRU(H), backward_layer=keras.layers.LSTM(H, go_backwards=True)
        ),
        "Bidirectional of GRU and LSTM; both directions of ours have one cell: convert the two "
        "layers one by one",
    ),
    "directions of two equations": (
        keras.layers.Bidirectional(
            keras.layers.GRU(H),
            backward_layer=keras.layers.GRU(H, reset_after=False, go_backwards=True),
        ),
        "the two layers of Bidirectional differ in units, activation, use_bias or reset_after; "
        "both directions of ours have one cell and size: convert them one by one",
    ),
}


@pytest.mark.parametrize("name", REFUSED_VALUES)
def test_options_that_change_the_outputs(name: str) -> None:
    layer, message = REFUSED_VALUES[name]
    config = layer.get_config()
    # Not built: a layer that is refused for its options is refused before its weights are read.
    with pytest.raises(ValueError) as caught:
        from_keras(KerasLayer(type(layer).__name__, config, []))
    assert str(caught.value) == f"from_keras: {message}"


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (keras.layers.Dense(3), "expected SimpleRNN, GRU, LSTM or Bidirectional of one of them, "
         "got Dense"),
        (keras.layers.Bidirectional(keras.layers.RNN(keras.layers.GRUCell(H))), "expected "
         "SimpleRNN, GRU, LSTM or Bidirectional of one of them, got RNN"),
        (nn.LSTM(D, H), "expected a Keras layer, got the torch module LSTM"),
        (None, "expected a Keras layer or a KerasLayer, got a NoneType"),
    ],
)  # fmt: skip
def test_other_layers(layer: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        from_keras(layer)
    assert str(caught.value) == f"from_keras: {message}"


def test_weights_that_do_not_fit() -> None:
    with pytest.raises(ValueError) as caught:
        from_keras(keras.layers.LSTM(H))
    assert str(caught.value) == (
        "from_keras: LSTM of 5 units has weights [D, 20], [5, 20], [20]; "
        "got none; build the layer first"
    )
    data = KerasLayer("GRU", {"units": 2}, [np.zeros((3, 6)), np.zeros((2, 6)), np.zeros(6)])
    with pytest.raises(ValueError) as caught:
        from_keras(data)
    assert str(caught.value) == (
        "from_keras: GRU of 2 units has weights [D, 6], [2, 6], [2, 6]; got [3, 6], [2, 6], [6]"
    )
    one = built(keras.layers.SimpleRNN(2)).get_weights()
    config = keras.layers.Bidirectional(keras.layers.SimpleRNN(2)).get_config()
    with pytest.raises(ValueError) as caught:
        from_keras(KerasLayer("Bidirectional", config, one))
    assert str(caught.value) == (
        "from_keras: SimpleRNN of 2 units has weights [D, 2], [2, 2], [2], [D, 2], [2, 2], [2]; "
        "got [4, 2], [2, 2], [2]"
    )
    with pytest.raises(ValueError) as caught:
        from_keras(KerasLayer("GRU", {}, []))
    assert str(caught.value) == (
        "from_keras: the configuration of GRU has no 'units'; give what layer.get_config() returns"
    )
    whole = [np.zeros((3, 2), int), np.zeros((2, 2), int), np.zeros(2, int)]
    with pytest.raises(ValueError) as caught:
        from_keras(KerasLayer("SimpleRNN", {"units": 2}, whole))
    assert str(caught.value) == (
        "from_keras: weights of dtype int64, expected float16, float32, float64; "
        "give a KerasLayer with w.astype('float32')"
    )


@pytest.mark.parametrize(
    ("above", "what"),
    [
        (built(keras.layers.LSTM(H), 6), "lstm_one_bias of 5 units and 6 inputs, one direction"),
        (
            built(keras.layers.Bidirectional(keras.layers.GRU(H)), H),
            "gru of 5 units and 5 inputs, both directions",
        ),
    ],
)
def test_layers_that_are_no_stack(above: Any, what: str) -> None:
    with pytest.raises(ValueError) as caught:
        from_keras(built(keras.layers.GRU(H)), above)
    assert str(caught.value) == (
        f"from_keras: layer 1 is {what}, the one below it gru of 5 units and 4 inputs, one "
        "direction; in a stack all run in the same directions, and layer 1 reads 5 values: "
        "convert the layers one by one"
    )


def test_what_keras_does_not_have() -> None:
    with pytest.raises(ValueError) as caught:
        to_keras(ur.Recurrent(cells.mgu, D, H))
    assert str(caught.value) == (
        "to_keras: Keras has no layer of cell mgu; "
        "it has those of elman, gru, gru_cho, lstm_one_bias, rnn, lstm"
    )
    with pytest.raises(ValueError) as caught:
        to_keras(ur.LSTM(D, H, proj_size=2))
    assert str(caught.value) == (
        "to_keras: Keras has no layer of cell lstm_projected; "
        "it has those of elman, gru, gru_cho, lstm_one_bias, rnn, lstm"
    )
    gru = cells.gru
    saved = ur.Cell.from_graphs([gru.graph(gru.resolve_sizes(D, H))])
    with pytest.raises(ValueError) as caught:
        to_keras(ur.Recurrent(saved, D, H))
    assert str(caught.value) == (
        "to_keras: Keras has no layer of cell gru, whose equations come from a file; it has those "
        "of unrolled.cells' elman, gru, gru_cho, lstm_one_bias, rnn, lstm"
    )
    theirs: Any = nn.GRU(D, H)
    with pytest.raises(TypeError) as caught:
        to_keras(theirs)
    assert str(caught.value) == (
        "to_keras: expected unrolled's RNN, GRU, LSTM or Recurrent, got a GRU; "
        "ur.from_torch makes ours of torch's"
    )
    with pytest.raises(ValueError) as caught:
        to_keras(ur.GRU(D, H, dtype=torch.bfloat16))
    assert str(caught.value) == (
        "to_keras: parameters of bfloat16; numpy has no such type: module.float()"
    )
