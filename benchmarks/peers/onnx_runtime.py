"""ONNX Runtime on a model of one ``RNN``, ``GRU`` or ``LSTM`` node; inference.

The weights are constants of the model, so that the runtime may pack them once: what a user of an
exported model gets.  ONNX orders an LSTM's gates i, o, f, c and its peepholes i, o, f, a GRU's
gates z, r, h; its equations for peepholes and for the reset before the product are ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers.contestant import Contestant, named, package
from benchmarks.problems import Mode, Problem

# Of 2023: known to every runtime in use.
OPSET, IR_VERSION = 19, 9


@dataclass(frozen=True)
class Node:
    """An operator, its attributes, and ONNX's order of our gates."""

    op: str
    order: tuple[int, ...]
    attributes: Mapping[str, Any]


NODES = {
    "rnn": Node("RNN", (0,), {"activations": ["Tanh"]}),
    "gru": Node("GRU", (1, 0, 2), {"linear_before_reset": 1}),
    "gru_cho": Node("GRU", (1, 0, 2), {"linear_before_reset": 0}),
    "lstm": Node("LSTM", (0, 3, 1, 2), {}),
    "lstm_peephole_gers": Node("LSTM", (0, 3, 1, 2), {}),
}


def _reordered(weights: Tensor, order: tuple[int, ...]) -> Tensor:
    gates = weights.chunk(len(order))
    return torch.cat([gates[i] for i in order])


def _weights(problem: Problem, node: Node) -> dict[str, Tensor]:
    """ONNX's inputs W, R, B and, for peepholes, P; each with an axis for the direction."""
    p = problem.params
    if "W_ih" in p:
        ours = {"W": p["W_ih"], "R": p["W_hh"]}
        biases = (p["b_ih"], p["b_hh"])
    else:
        ours = {"W": p["W"], "R": p["U"]}
        biases = (p["b"], torch.zeros_like(p["b"]))
    found = {name: _reordered(w, node.order) for name, w in ours.items()}
    found["B"] = torch.cat([_reordered(b, node.order) for b in biases])
    if "p" in p:
        found["P"] = _reordered(p["p"], (0, 2, 1))
    return {name: w.unsqueeze(0).contiguous() for name, w in found.items()}


def model(problem: Problem) -> bytes:
    """The serialised ONNX model: from x and the initial states, y and the final states."""
    onnx = package("onnx")
    helper, float32 = onnx.helper, onnx.TensorProto.FLOAT
    node, weights = NODES[problem.cell.name], _weights(problem, NODES[problem.cell.name])
    point, states = problem.point, [s.name for s in problem.cell.states]
    initial = [f"{name}_0" for name in states]
    # The empty name stands for the input that isn't given: the sequences' lengths.
    inputs = ["x", "W", "R", "B", "", *initial]
    inputs += ["P"] if "P" in weights else []
    state_shape = (1, point.B, point.H)
    graph = helper.make_graph(
        [helper.make_node(node.op, inputs, ["y", *states], hidden_size=point.H, **node.attributes)],
        problem.cell.name,
        [
            helper.make_tensor_value_info("x", float32, (point.T, point.B, point.D)),
            *(helper.make_tensor_value_info(name, float32, state_shape) for name in initial),
        ],
        [
            helper.make_tensor_value_info("y", float32, (point.T, *state_shape)),
            *(helper.make_tensor_value_info(name, float32, state_shape) for name in states),
        ],
        [onnx.numpy_helper.from_array(w.numpy(), name) for name, w in weights.items()],
    )
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(made, full_check=True)
    return made.SerializeToString()


def build(problem: Problem, mode: Mode) -> Contestant:
    """A session with as many threads as torch has."""
    if mode == "training":
        raise ValueError("ONNX Runtime is measured at inference alone")
    runtime = package("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = runtime.InferenceSession(model(problem), options, providers=["CPUExecutionProvider"])
    feed = {"x": problem.x.numpy()}
    for spec, state in zip(problem.cell.states, problem.states, strict=True):
        feed[f"{spec.name}_0"] = state.unsqueeze(0).numpy()

    def tensors(outcome: Any) -> Any:
        y, *final = (torch.from_numpy(value) for value in outcome)
        return named(problem, mode, y.squeeze(1), [s.squeeze(0) for s in final], ())

    return Contestant(lambda: session.run(None, feed), tensors)
