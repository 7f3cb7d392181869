"""What can't be loaded is refused in words that say what to do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

from onnx_models import node_model
from unrolled.interop.onnx import load

WEIGHTS = {
    "X": np.zeros((2, 1, 3), np.float32),
    "W": np.zeros((1, 8, 3), np.float32),
    "R": np.zeros((1, 8, 2), np.float32),
}


def lstm(held: tuple[str, ...] = ("W", "R"), **attributes: Any) -> onnx.ModelProto:
    return node_model("LSTM", WEIGHTS, attributes, held)


def with_a_second_node() -> onnx.ModelProto:
    model = lstm()
    model.graph.node.append(helper.make_node("Relu", ["Y"], ["y"]))
    return model


def of_opset_1() -> onnx.ModelProto:
    model = lstm()
    model.opset_import[0].version = 6
    return model


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "two nodes": (
        lambda: load(with_a_second_node()),
        "the model has 2 nodes (LSTM 'the node', Relu 'y'), and one RNN, GRU or LSTM node can be "
        "loaded, no graph around it; name it: load(…, node='…')",
    ),
    "a node of another kind": (
        lambda: load(with_a_second_node(), node="y"),
        "Relu 'y': expected one of RNN, GRU, LSTM",
    ),
    "no such node": (
        lambda: load(lstm(), node="lstm"),
        "the model has no node or output 'lstm'; it has LSTM 'the node'",
    ),
    "an old opset": (
        lambda: load(of_opset_1()),
        "the model is of opset 6, expected 7 or newer; onnx.version_converter.convert_version "
        "raises it",
    ),
    "weights that are inputs": (
        lambda: load(lstm(held=("W",))),
        "LSTM 'the node': its R, 'R', is no initializer of the model; give it: "
        "load(…, weights={'R': …})",
    ),
    "weights of other names": (
        lambda: load(lstm(), weights={"weight_ih": torch.zeros(1)}),
        "weights: LSTM 'the node' has no input 'weight_ih'; it reads W, R",
    ),
    "hidden_size": (
        lambda: load(lstm(hidden_size=3)),
        "LSTM: hidden_size=3, and R is [1, 8, 2]",
    ),
    "a shape": (
        lambda: load(lstm(direction="bidirectional")),
        "LSTM: W must be [2, 8, 3] at 2 direction(s) and hidden_size=2, got [1, 8, 3]",
    ),
    "rank": (
        lambda: load(lstm(held=("R",)), weights={"W": torch.zeros(8, 3)}),
        "LSTM: W and R must have 3 axes, got [8, 3], [1, 8, 2]",
    ),
    "direction": (
        lambda: load(lstm(direction="backward")),
        "LSTM node 'the node': direction 'backward', expected forward, reverse, bidirectional",
    ),
    "activations": (
        lambda: load(lstm(activations=["Tanh"])),
        "LSTM node 'the node': 1 activations, expected 3 for each of 1 direction(s)",
    ),
    "an unknown activation": (
        lambda: load(lstm(activations=["Sigmoid", "Gelu", "Tanh"])),
        "LSTM node 'the node': there is no activation 'Gelu', expected one of Relu, Tanh, "
        "Sigmoid, Affine, LeakyRelu, ThresholdedRelu, ScaledTanh, HardSigmoid, Elu, Softsign, "
        "Softplus",
    ),
    "too many alphas": (
        lambda: load(lstm(activations=["Elu", "Tanh", "Tanh"], activation_alpha=[1.0, 0.0, 0.0])),
        "LSTM node 'the node': activation_alpha has 3 values, and of the activations Elu, Tanh, "
        "Tanh there take one: Elu; give one value for each of these, in order",
    ),
    "no alpha": (
        lambda: load(lstm(activations=["Sigmoid", "Affine", "Tanh"])),
        "LSTM node 'the node': Affine has no alpha, and ONNX has no default for it; give "
        "activation_alpha",
    ),
    "a backend": (
        lambda: load(lstm(), backend="gpu"),
        "backend 'gpu': expected one of auto, cpu, cpu_invariant, reference",
    ),
    "clip": (
        lambda: load(lstm(clip=0.0)),
        "LSTM node 'the node': clip=0, expected a number above 0; leave it out for none",
    ),
}


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message


def test_an_unknown_attribute_is_refused() -> None:
    node = helper.make_node("RNN", ["X", "W", "R"], ["Y"], name="n", output_sequence=1)
    weights = {"W": torch.zeros(1, 2, 3), "R": torch.zeros(1, 2, 2)}
    with pytest.raises(ValueError) as caught:
        load(node, weights=weights)
    assert str(caught.value) == (
        "RNN node 'n': unknown attribute output_sequence, expected activation_alpha, "
        "activation_beta, activations, clip, direction, hidden_size, layout"
    )


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError) as caught:
        load(3)  # type: ignore[arg-type]
    assert str(caught.value) == "expected an ONNX model, its bytes, a path or a node, got int"
    half = {name: torch.from_numpy(WEIGHTS[name]).half() for name in ("W", "R")}
    with pytest.raises(TypeError) as caught:
        load(lstm(held=()), weights=half)
    assert str(caught.value) == (
        "LSTM: W is torch.float16: expected float32 or float64; convert the model"
    )


CALLS: dict[str, tuple[tuple[Any, ...], type[Exception], str]] = {
    "x": (
        (torch.zeros(2, 1, 4),),
        ValueError,
        "x must be [T, B, D] with D=3, got the shape [2, 1, 4]",
    ),
    "a state": (
        (torch.zeros(2, 1, 3), None, torch.zeros(1, 2)),
        ValueError,
        "initial_h must be [directions, B, H] = [1, 1, 2], got [1, 2]",
    ),
    "lengths of another type": (
        (torch.zeros(2, 1, 3), torch.ones(1)),
        TypeError,
        "sequence_lens is torch.float32: expected integers",
    ),
    "lengths of another shape": (
        (torch.zeros(2, 1, 3), torch.ones(2, dtype=torch.int32)),
        ValueError,
        "sequence_lens must be [B] = [1], got [2]",
    ),
    "a length of 0": (
        (torch.zeros(2, 1, 3), torch.zeros(1, dtype=torch.int32)),
        ValueError,
        "sequence_lens must lie in 1 to T=2, got 0 to 0",
    ),
    "a length over T": (
        (torch.zeros(2, 1, 3), torch.tensor([3])),
        ValueError,
        "sequence_lens must lie in 1 to T=2, got 3 to 3",
    ),
}


@pytest.mark.parametrize(("arguments", "kind", "message"), CALLS.values(), ids=CALLS)
def test_calls_that_are_refused(
    arguments: tuple[Any, ...], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind) as caught:
        load(lstm())(*arguments)
    assert str(caught.value) == message


def test_a_cell_state_where_there_is_none() -> None:
    node = helper.make_node("RNN", ["X", "W", "R"], ["Y"])
    module = load(node, weights={"W": torch.zeros(1, 2, 3), "R": torch.zeros(1, 2, 2)})
    with pytest.raises(TypeError) as caught:
        module(torch.zeros(2, 1, 3), initial_c=torch.zeros(1, 1, 2))
    assert str(caught.value) == "initial_c: a node RNN has no cell state"


def test_how_it_shows_itself() -> None:
    module = load(lstm(direction="reverse", clip=0.5, input_forget=1))
    assert repr(module) == (
        "RecurrentNode(LSTM, input_size=3, hidden_size=2, reversed=(True,), clip=0.5, input_forget)"
    )
