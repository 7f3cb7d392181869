"""Loaded nodes, random weights: equal to ONNX Runtime, and in float64 to plain NumPy."""

import copy
import itertools
import pickle
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import onnx_plain
from onnx_models import Arrays, Session, assert_close, node_model, rounding
from unrolled.interop.onnx import load
from unrolled.interop.onnx.activations import TABLE

T, B, D, H = 5, 3, 4, 3
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
LENGTHS = np.array([3, 5, 1], np.int32)

OWN: dict[str, list[dict[str, Any]]] = {
    "RNN": [{}],
    "GRU": [{}, {"linear_before_reset": 1}],
    "LSTM": [{}, {"input_forget": 1}],
}
DIRECTIONS = ("forward", "reverse", "bidirectional")
OPTIONAL = ("B", "sequence_lens", "initial_h", "initial_c", "P")


def inputs(op: str, directions: int, present: tuple[str, ...], seed: int, dtype: Any) -> Arrays:
    """Random weights in ±1/√H, all else in ±1; of the optional inputs those that are present."""
    source = np.random.default_rng(seed)
    g, scale = GATES[op], H**-0.5

    def uniform(*shape: int, scale: float = 1.0) -> np.ndarray:
        return source.uniform(-scale, scale, shape).astype(dtype)

    found = {
        "X": uniform(T, B, D),
        "W": uniform(directions, g * H, D, scale=scale),
        "R": uniform(directions, g * H, H, scale=scale),
        "B": uniform(directions, 2 * g * H, scale=scale),
        "sequence_lens": LENGTHS,
        "initial_h": uniform(directions, B, H),
    }
    if op == "LSTM":
        found |= {"initial_c": uniform(directions, B, H), "P": uniform(directions, 3 * H)}
    return {k: v for k, v in found.items() if k not in OPTIONAL or k in present}


def loaded(op: str, given: Arrays, attributes: Mapping[str, Any]) -> Arrays:
    """What our module makes of the node, its weights held by the model."""
    model = node_model(op, given, attributes, ("W", "R", "B", "P"))
    module = load(model, backend="reference")
    found = module(
        torch.from_numpy(given["X"]),
        **{
            name: torch.from_numpy(given[name])
            for name in ("sequence_lens", "initial_h", "initial_c")
            if name in given
        },
    )
    names = ("Y", "Y_h", "Y_c")
    return {n: v.detach().numpy() for n, v in zip(names, found, strict=False)}


def bound(dtype: Any) -> float:
    # A state within a few units: activations without bounds grow from weights in ±1/√H.
    return rounding(dtype, T, D + H + 3, 4.0)


def in_float64(given: Arrays) -> Arrays:
    return {k: v.astype(np.float64) if v.dtype == np.float32 else v for k, v in given.items()}


def combinations() -> list[Any]:
    """Every attribute with every direction, and a random half of all optional inputs with each."""
    draw = random.Random(0)
    found: list[Any] = []
    for op, own in OWN.items():
        for direction, extra, clip in itertools.product(DIRECTIONS, own, (None, 0.4)):
            for _ in range(2):
                present = tuple(name for name in OPTIONAL if draw.random() < 0.5)
                attributes = {"direction": direction, "hidden_size": H, **extra}
                attributes |= {} if clip is None else {"clip": clip}
                label = "-".join(f"{k}={v}" for k, v in attributes.items() if k != "hidden_size")
                found.append(
                    pytest.param(op, attributes, present, id=f"{op}-{label}-{'+'.join(present)}")
                )
    return found


@pytest.mark.parametrize(("op", "attributes", "present"), combinations())
def test_equals_onnx_runtime_and_plain_numpy(
    op: str, attributes: dict[str, Any], present: tuple[str, ...]
) -> None:
    directions = 2 if attributes["direction"] == "bidirectional" else 1
    given = inputs(op, directions, present, 1, np.float32)
    theirs = Session(node_model(op, given, attributes, ("W", "R", "B", "P")))
    feed = {k: v for k, v in given.items() if k in theirs.inputs}
    assert_close(loaded(op, given, attributes), theirs(feed), bound(np.float32))

    exact = in_float64(given)
    attributes = {
        **attributes,
        **({"clip": float(np.float32(0.4))} if "clip" in attributes else {}),
    }
    wanted = onnx_plain.node(op, exact, attributes)
    assert_close(loaded(op, exact, attributes), wanted, bound(np.float64))


@pytest.mark.parametrize("op", GATES)
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_layout_1_is_batch_first(op: str, direction: str) -> None:
    """ONNX Runtime refuses ``layout=1``; plain NumPy does not."""
    given = inputs(op, 2 if direction == "bidirectional" else 1, OPTIONAL, 2, np.float64)
    for name in ("X", "initial_h", "initial_c"):
        if name in given:
            given[name] = given[name].swapaxes(0, 1).copy()
    attributes = {"direction": direction, "layout": 1}
    wanted = onnx_plain.node(op, given, attributes)
    assert wanted["Y"].shape[:2] == (B, T)
    assert_close(loaded(op, given, attributes), wanted, bound(np.float64))


@pytest.mark.parametrize("name", TABLE)
def test_each_activation_with_its_numbers(name: str) -> None:
    row, alpha, beta = TABLE[name], 0.25, 0.75  # numbers that float32 has
    attributes: dict[str, Any] = {"activations": [name], "hidden_size": H}
    attributes |= {"activation_alpha": [alpha]} if row.alpha is not None else {}
    attributes |= {"activation_beta": [beta]} if row.beta is not None else {}
    given = inputs("RNN", 1, ("B",), 3, np.float32)
    session = Session(node_model("RNN", given, attributes, ("W", "R", "B")))
    assert_close(loaded("RNN", given, attributes), session({"X": given["X"]}), bound(np.float32))
    exact = in_float64(given)
    wanted = onnx_plain.node("RNN", exact, {}, [[onnx_plain.FUNCTIONS[name](alpha, beta)]])
    assert_close(loaded("RNN", exact, attributes), wanted, bound(np.float64))


@pytest.mark.parametrize(
    ("name", "alpha", "beta"),
    [
        ("LeakyRelu", 0.01, 0.0),
        ("ThresholdedRelu", 1.0, 0.0),
        ("HardSigmoid", 0.2, 0.5),
        ("Elu", 1.0, 0.0),
    ],
)
def test_default_numbers_are_those_of_the_operator_of_that_name(
    name: str, alpha: float, beta: float
) -> None:
    given = inputs("RNN", 1, ("B",), 4, np.float64)
    given["X"] *= 3  # beyond the threshold of 1
    wanted = onnx_plain.node("RNN", given, {}, [[onnx_plain.FUNCTIONS[name](alpha, beta)]])
    assert_close(loaded("RNN", given, {"activations": [name]}), wanted, bound(np.float64) * 3)


def test_numbers_go_to_the_activations_that_take_them_in_order() -> None:
    """Of both directions; ONNX Runtime gives them out in the same way."""
    attributes = {
        "direction": "bidirectional",
        "hidden_size": H,
        "activations": ["HardSigmoid", "LeakyRelu", "Tanh", "Sigmoid", "ScaledTanh", "Elu"],
        "activation_alpha": [0.25, 0.125, 0.875, 0.5],
        "activation_beta": [0.375, 1.25],
    }
    given = inputs("LSTM", 2, OPTIONAL, 5, np.float32)
    session = Session(node_model("LSTM", given, attributes, ("W", "R", "B", "P")))
    theirs = session({k: v for k, v in given.items() if k in session.inputs})
    assert_close(loaded("LSTM", given, attributes), theirs, bound(np.float32))
    make = onnx_plain.FUNCTIONS
    functions = [
        [make["HardSigmoid"](0.25, 0.375), make["LeakyRelu"](0.125, 0), np.tanh],
        [make["Sigmoid"](0, 0), make["ScaledTanh"](0.875, 1.25), make["Elu"](0.5, 0)],
    ]
    exact = in_float64(given)
    wanted = onnx_plain.node("LSTM", exact, {"direction": "bidirectional"}, functions)
    assert_close(loaded("LSTM", exact, attributes), wanted, bound(np.float64))


@pytest.mark.parametrize("op", ["GRU", "LSTM"])
def test_a_wrong_order_of_gates_is_seen(op: str) -> None:
    """These samples tell: any two gates exchanged differ by far more than rounding."""
    given = inputs(op, 1, OPTIONAL, 1, np.float64)
    right = loaded(op, given, {})
    for a, b in itertools.combinations(range(GATES[op]), 2):
        order = list(range(GATES[op]))
        order[a], order[b] = b, a
        wrong = dict(given)
        for name in ("W", "R"):
            blocks = np.split(given[name], GATES[op], axis=1)
            wrong[name] = np.concatenate([blocks[i] for i in order], axis=1)
        difference = np.abs(loaded(op, wrong, {})["Y"] - right["Y"]).max()
        assert difference > 100 * bound(np.float32)


def test_every_backend_that_is_chosen_gives_the_same() -> None:
    given = inputs("LSTM", 2, OPTIONAL, 6, np.float32)
    attributes = {"direction": "bidirectional", "clip": 0.5}
    model = node_model("LSTM", given, attributes, ("W", "R", "B", "P"))
    x, ends = torch.from_numpy(given["X"]), torch.from_numpy(LENGTHS)
    auto = load(model)(x, ends)
    reference = load(model, backend="reference")(x, ends)
    for ours, theirs in zip(auto, reference, strict=True):
        assert (ours - theirs).abs().max() <= bound(np.float32)


def test_what_stands_past_an_end_reaches_no_result_and_no_gradient() -> None:
    given = inputs("GRU", 2, ("B",), 7, np.float64)
    module = load(
        node_model("GRU", given, {"direction": "bidirectional"}, ("W", "R", "B")),
        backend="reference",
    )
    x = torch.from_numpy(given["X"])
    outside = torch.arange(T)[:, None] >= torch.from_numpy(LENGTHS)
    results: list[list[torch.Tensor]] = []
    for filler in (0.0, float("nan")):
        filled = x.masked_fill(outside[..., None], filler).requires_grad_()
        y, last = module(filled, torch.from_numpy(LENGTHS))
        loss = (y * y).sum() + last.sum()
        gradients = torch.autograd.grad(loss, [filled, *module.parameters()])
        results.append([y, last, *gradients])
    for zeros, nans in zip(*results, strict=True):
        assert torch.equal(zeros, nans)
    assert not results[0][2][outside].any()


@pytest.mark.parametrize("op", GATES)
def test_gradients(op: str) -> None:
    given = inputs(op, 1, ("B", "P"), 8, np.float64)
    held = ("W", "R", "B", "P")
    module = load(node_model(op, given, {"direction": "reverse"}, held), backend="reference")
    names = [name for name, _ in module.named_parameters()]
    assert names == [n for n in held if n in given]

    def run(x: torch.Tensor, *weights: torch.Tensor) -> Any:
        arguments = (x, torch.from_numpy(LENGTHS))
        return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), arguments)

    leaves = [torch.from_numpy(given["X"]), *(p.detach() for p in module.parameters())]
    assert torch.autograd.gradcheck(run, [leaf.requires_grad_() for leaf in leaves])


def test_weights_in_constant_nodes_and_a_copy() -> None:
    given = inputs("GRU", 1, ("B",), 10, np.float64)
    model = node_model("GRU", given, {}, ("W", "R", "B"))
    held = list(model.graph.initializer)
    del model.graph.initializer[:]
    for tensor in held:
        constant = onnx.helper.make_node("Constant", [], [tensor.name], value=tensor)
        model.graph.node.insert(0, constant)
    module = load(model, backend="reference")
    x = torch.from_numpy(given["X"])
    wanted = onnx_plain.node("GRU", given, {})
    for copied in (module, pickle.loads(pickle.dumps(module)), copy.deepcopy(module)):
        y, last = (v.detach().numpy() for v in copied(x))
        assert_close({"Y": y, "Y_h": last}, wanted, bound(np.float64))


def test_what_the_model_holds_of_lengths_and_states_is_used() -> None:
    given = inputs("LSTM", 1, OPTIONAL, 9, np.float64)
    held = tuple(k for k in given if k != "X")
    module = load(node_model("LSTM", given, {}, held), backend="reference")
    y, *last = module(torch.from_numpy(given["X"]))
    wanted = onnx_plain.node("LSTM", given, {})
    names = ["Y", "Y_h", "Y_c"]
    found = {n: v.detach().numpy() for n, v in zip(names, (y, *last), strict=True)}
    assert_close(found, wanted, bound(np.float64))
