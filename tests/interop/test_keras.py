"""``from_keras`` and ``to_keras`` beside Keras itself, which runs on torch here."""

from typing import Any

import keras
import numpy as np
import pytest
import torch
from torch import nn

import unrolled as ur
from unrolled import cells
from unrolled.interop import KerasLayer, from_keras, to_keras
from unrolled.interop.keras.forms import ACTIVATIONS

T, B, D, H = 7, 3, 4, 5

LAYERS: dict[str, tuple[str, dict[str, Any], str]] = {
    **{
        f"SimpleRNN-{name}": ("SimpleRNN", {"activation": name}, "elman")
        for name in (*ACTIVATIONS, None)
    },
    "SimpleRNN-no-bias": ("SimpleRNN", {"use_bias": False}, "elman"),
    "GRU-after": ("GRU", {"reset_after": True}, "gru"),
    "GRU-after-no-bias": ("GRU", {"reset_after": True, "use_bias": False}, "gru"),
    "GRU-before": ("GRU", {"reset_after": False}, "gru_cho"),
    "GRU-before-no-bias": ("GRU", {"reset_after": False, "use_bias": False}, "gru_cho"),
    "LSTM": ("LSTM", {}, "lstm_one_bias"),
    "LSTM-no-bias": ("LSTM", {"use_bias": False}, "lstm_one_bias"),
}


def bound(layers: int, magnitude: float) -> float:
    """How far two ways of computing a layer in float32 may differ.

    Not in float64: on torch, Keras 3 multiplies matrices in float32 all the same. A value passes
    each layer and step once. There it enters a sum of at most 2·H inputs, H states and two biases,
    and ten elementwise operations, each rounded to ε/2; the two ways err independently, and weights
    below 1 / √H make no error grow.
    """
    return layers * T * (3 * H + 12) * np.finfo(np.float32).eps * max(1.0, magnitude)


def keras_layer(kind: str, both: bool = False, inputs: int = D, **options: Any) -> Any:
    """A layer of random weights, biases too, that returns all it can."""
    config = {"return_sequences": True, "return_state": True, **options}
    layer: Any = getattr(keras.layers, kind)(H, **config)
    if both:
        layer = keras.layers.Bidirectional(layer)
    layer.build((None, None, inputs))
    generator = np.random.default_rng(0)
    limit = 1 / np.sqrt(H)
    layer.set_weights([generator.uniform(-limit, limit, w.shape) for w in layer.get_weights()])
    return layer


def built(data: KerasLayer, inputs: int) -> Any:
    """The Keras layer that the data describe."""
    layer: Any = keras.layers.deserialize(data.serialized())
    layer.build((None, None, inputs))
    layer.set_weights(data.weights)
    return layer


def batch(inputs: int = D) -> torch.Tensor:
    return torch.randn(B, T, inputs)


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("name", LAYERS)
def test_outputs_and_states_are_keras_and_the_weights_go_back(name: str, both: bool) -> None:
    kind, options, cell = LAYERS[name]
    layer = keras_layer(kind, both, **options)
    ours = from_keras(layer, backend="reference")
    assert (ours.cell.name, ours.bidirectional, ours.batch_first) == (cell, both, True)
    x = batch()
    expected, *states = layer(x)
    y, final = ours(x)
    atol = bound(1, expected.abs().max().item())
    torch.testing.assert_close(y, expected, rtol=0, atol=atol)
    # Keras gives both states of one direction, then those of the other.
    for row, state in enumerate(states):
        direction, k = divmod(row, len(final))
        torch.testing.assert_close(final[k][direction], state, rtol=0, atol=atol)

    (data,) = to_keras(ours)
    assert data.class_name == type(layer).__name__
    again = built(data, D)
    for found, weight in zip(again.get_weights(), layer.get_weights(), strict=True):
        assert np.array_equal(found, weight)
    assert torch.equal(again(x), expected)


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
def test_a_stack(both: bool) -> None:
    width = 2 * H if both else H
    layers = [keras_layer("GRU", both, inputs, return_state=False) for inputs in (D, width, width)]
    ours = from_keras(*layers, backend="reference")
    assert (ours.num_layers, ours.input_size) == (3, D)
    x = batch()
    expected = x
    for layer in layers:
        expected = layer(expected)
    atol = bound(3, expected.abs().max().item())
    torch.testing.assert_close(ours(x)[0], expected, rtol=0, atol=atol)
    for data, layer in zip(to_keras(ours), layers, strict=True):
        assert all(map(np.array_equal, data.weights, layer.get_weights()))


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
def test_the_last_output_is_what_keras_returns_alone(both: bool) -> None:
    layer = keras_layer("GRU", both, return_sequences=False, return_state=False)
    x = batch()
    expected = layer(x)
    y, (final,) = from_keras(layer)(x)
    torch.testing.assert_close(torch.cat([*final], -1), expected, rtol=0, atol=bound(1, 1.0))
    assert torch.equal(y[:, -1, :H], final[0])


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_drop_ins_to_keras(kind: str, bias: bool) -> None:
    ours = getattr(ur, kind)(
        D, H, 2, bidirectional=True, batch_first=True, bias=bias,
        backend="reference",
    )  # fmt: skip
    x = batch()
    y = x
    for data, inputs in zip(to_keras(ours), (D, 2 * H), strict=True):
        y = built(data, inputs)(y)
    expected = ours(x)[0]
    # The sum of the two biases that Keras has as one was rounded once more.
    torch.testing.assert_close(y, expected, rtol=0, atol=bound(2, 1.0))


def test_keras_to_torch() -> None:
    layer = keras_layer("LSTM", both=True, return_state=False)
    theirs = ur.to_torch(from_keras(layer))
    assert type(theirs) is nn.LSTM
    x = batch()
    torch.testing.assert_close(theirs(x)[0], layer(x), rtol=0, atol=bound(1, 1.0))


def test_a_bias_held_at_a_number_is_one_of_keras() -> None:
    ours = ur.Recurrent(cells.gru.bind(b_hh=0.25), D, H, batch_first=True, backend="reference")
    (data,) = to_keras(ours)
    x = batch()
    torch.testing.assert_close(built(data, D)(x), ours(x)[0], rtol=0, atol=bound(1, 1.0))


@pytest.mark.parametrize(
    ("cell", "held"),
    [
        (cells.lstm, {"b_hh": 0.0}),
        (cells.gru, {"b_hh": 0.0}),
        (cells.rnn, {"b_ih": 0.0}),
        (cells.gru, {"W_hh": 0.0}),
        (cells.lstm_one_bias, {"U": 0.5}),
        (cells.lstm, {"b_ih": 0.0, "W_ih": 0.25, "b_hh": 0.0}),
        (cells.gru, {"W_ih": 0.25, "W_hh": 0.0, "b_ih": 0.1, "b_hh": 0.0}),
    ],
)
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
def test_what_is_held_at_a_number(cell: ur.Cell, held: dict[str, float], both: bool) -> None:
    ours = ur.Recurrent(
        cell.bind(**held), D, H, 2, batch_first=True, bidirectional=both, backend="reference"
    )
    with torch.no_grad():
        for p in ours.parameters():
            p.uniform_(-0.4, 0.4)
    x = batch()
    y = x
    for data, inputs in zip(to_keras(ours), (D, H * (1 + both)), strict=True):
        y = built(data, inputs)(y)
    torch.testing.assert_close(y, ours(x)[0], rtol=0, atol=bound(2, 1.0))
    assert ours(x)[0].abs().max() > 1e-2


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
def test_layers_of_several_cells_and_widths(both: bool) -> None:
    ours = ur.Recurrent(
        [cells.lstm_one_bias, cells.gru, cells.gru_cho], D, [H, 3, 4], batch_first=True,
        bidirectional=both, backend="reference",
    )  # fmt: skip
    x = batch()
    y = x
    data = to_keras(ours)
    for each, inputs in zip(data, (D, H * (1 + both), 3 * (1 + both)), strict=True):
        y = built(each, inputs)(y)
    torch.testing.assert_close(y, ours(x)[0], rtol=0, atol=bound(3, 1.0))
    again = from_keras(*data, backend="reference")
    assert again.hidden_size == (H, 3, 4)
    parameters = zip(again.state_dict().items(), ours.state_dict().items(), strict=True)
    assert all(n == name and torch.equal(p, own) for (n, p), (name, own) in parameters)


@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
def test_frozen_layers_stay_frozen(both: bool) -> None:
    ours = ur.Recurrent(cells.gru, D, H, 12, batch_first=True, bidirectional=both)
    for name, p in ours.named_parameters():
        p.requires_grad_("_l1" not in name.replace("_l10", "").replace("_l11", ""))
    data = to_keras(ours)
    layers = [built(each, inputs) for each, inputs in zip(data, (D, H * (1 + both)), strict=False)]
    assert [layer.trainable for layer in layers] == [True, False]
    assert len(layers[1].trainable_weights) == 0
    for source in (data, [*layers, *data[2:]]):
        again = from_keras(*source)
        assert [p.requires_grad for p in again.parameters()] == [
            p.requires_grad for p in ours.parameters()
        ]


def test_a_layer_that_is_frozen_in_part_is_trainable_with_a_warning() -> None:
    ours = ur.GRU(D, H)
    ours.bias_ih_l0.requires_grad_(False)
    with pytest.warns(UserWarning, match="to_keras") as caught:
        (data,) = to_keras(ours)
    assert str(caught[0].message) == (
        "to_keras: some parameters of layer 0 are frozen, and a Keras layer is trained as a whole "
        "or not at all: this one is trainable"
    )
    assert caught[0].filename == __file__
    assert "trainable" not in data.config


def test_plain_arrays_are_copied_and_the_config_has_keras_defaults() -> None:
    weights = [np.ones((1, 2), "float32"), np.ones((2, 2), "float32"), np.zeros(2, "float32")]
    ours = from_keras(KerasLayer("SimpleRNN", {"units": 2, "trainable": False}, weights))
    assert {p.dtype for p in ours.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in ours.parameters())
    weights[0][:] = 7
    weights[2][:] = 7
    named = dict(ours.named_parameters())
    assert named["W_xh_l0"].max() == 1
    assert named["b_h_l0"].max() == 0
    gru = [np.zeros(s, "float64") for s in ((3, 6), (2, 6), (2, 6))]
    doubles = from_keras(KerasLayer("GRU", {"units": 2}, gru))
    assert doubles.cell is cells.gru
    assert {p.dtype for p in doubles.parameters()} == {torch.float64}
    assert to_keras(doubles)[0].config == {
        "units": 2,
        "activation": "tanh",
        "recurrent_activation": "sigmoid",
        "use_bias": True,
        "reset_after": True,
        "return_sequences": True,
        "dtype": "float64",
    }


def test_layers_of_one_kind_share_a_compiled_cell() -> None:
    first, other = (from_keras(keras_layer("GRU", use_bias=False)) for _ in range(2))
    assert first.cell is other.cell


def test_dropout_is_left_out_with_a_warning() -> None:
    layer = keras_layer("GRU", dropout=0.25, recurrent_dropout=0.5)
    data = KerasLayer("GRU", layer.get_config(), layer.get_weights())
    with pytest.warns(UserWarning, match="from_keras") as caught:
        ours = from_keras(data)
    assert [str(w.message) for w in caught] == [
        "from_keras: dropout=0.25 and recurrent_dropout=0.5 of layer 0 is left out: "
        "it acts in training alone"
    ]
    assert caught[0].filename == __file__
    x = batch()
    torch.testing.assert_close(ours(x)[0], layer(x)[0], rtol=0, atol=bound(1, 1.0))
    with pytest.warns(UserWarning, match="to_keras") as caught:
        to_keras(ur.GRU(D, H, 2, dropout=0.25))
    assert str(caught[0].message) == (
        "to_keras: dropout=0.25 between the layers is left out; it acts in training alone: put "
        "keras.layers.Dropout(0.25) between them"
    )
