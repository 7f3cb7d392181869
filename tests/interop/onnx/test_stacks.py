"""Stacks of several cells and widths, and learned initial states, beside each example alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

import unrolled as ur
from onnx_models import Session, assert_close, rounding
from unrolled import cells
from unrolled.interop.onnx import export, export_step

D, H, B, T = 3, 5, 4, 7
LENGTHS = (4, 1, 7, 6)

STACKS: dict[str, tuple[Any, Any]] = {
    "several cells": ([cells.lstm, cells.gru], H),
    "a node above a scan": ([cells.lstm_layer_norm, cells.lstm], H),
    "a scan above a node": ([cells.gru, cells.mingru, cells.lstm_peephole], [4, 6, 3]),
    "several widths": (cells.lstm, [4, 6]),
    "one layer": (cells.gru_cho, H),
    "three of one kind": ([cells.gru] * 3, H),
    "noise": ([ur.zoneout(cells.lstm, h=0.2), cells.elman], H),
}
EACH = pytest.mark.parametrize("name", STACKS)


def stack(name: str, **options: Any) -> Any:
    torch.manual_seed(0)
    cell, widths = STACKS[name]
    layer = ur.Recurrent(cell, D, widths, learn_initial=True, backend="reference", **options).eval()
    with torch.no_grad():
        for p in layer.parameters():
            p.uniform_(-0.5, 0.5)
    return layer


def each_alone(
    layer: Any, x: Tensor, states: list[Tensor] | None, lengths: tuple[int, ...]
) -> list[Any]:
    """Outputs and final states of [T, B, D], each example in a call of its own."""
    y = torch.zeros(*x.shape[:2], layer.output_size, dtype=x.dtype)
    finals: list[Any] = []
    for b, n in enumerate(lengths):
        given = None if states is None else tuple(s[:, b : b + 1] for s in states)
        own = x[:n, b : b + 1]
        found, final = layer(own.transpose(0, 1) if layer.batch_first else own, given)
        y[:n, b] = found.detach().reshape(n, -1)
        finals.append(final)
    last = [torch.cat(parts, 1).detach().numpy() for parts in zip(*finals, strict=True)]
    return [y.numpy(), *last]


def compare(layer: Any, model: onnx.ModelProto, feed: dict[str, Any], expected: list[Any]) -> None:
    names = ["y", *(f"{name}_n" for name in layer.state_names)]
    found = Session(model)(feed)
    assert list(found) == names
    dtype = expected[0].dtype.type
    largest = max(2.0, *(float(np.abs(a).max()) for a in expected))
    bound = rounding(dtype, T, 4 * 6 + 2, largest, layer.num_layers)
    assert_close(found, dict(zip(names, expected, strict=True)), bound)


@pytest.mark.parametrize("nodes", ["auto", "scan"])
@pytest.mark.parametrize("both", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("given", [False, True], ids=["learned", "given"])
@EACH
def test_sequences(name: str, given: bool, both: bool, nodes: Any) -> None:
    layer = stack(name, bidirectional=both, batch_first=both)
    x = torch.randn(T, B, D)
    states = [torch.randn(s) for s in layer.state_shapes(B)] if given else None
    for lengths in (None, LENGTHS):
        model = export(layer, nodes=nodes, initial_states=given, lengths=lengths is not None)
        feed: dict[str, Any] = {"x": (x.transpose(0, 1) if both else x).numpy()}
        if lengths:
            feed["lengths"] = np.array(lengths, np.int64)
        for state, values in zip(layer.state_names, states or (), strict=False):
            feed[f"{state}_0"] = values.numpy()
        expected = each_alone(layer, x, states, lengths or (T,) * B)
        if both:
            feed_y = expected[0].swapaxes(0, 1)
            expected = [feed_y, *expected[1:]]
        compare(layer, model, feed, expected)


@EACH
def test_a_step(name: str) -> None:
    layer = stack(name, dtype=torch.float64)
    session = Session(export_step(layer))
    x = torch.randn(T, B, D, dtype=torch.float64)
    states = [s.numpy() for s in (t.detach().contiguous() for t in layer.initial_state(B))]
    expected = each_alone(layer, x, None, (T,) * B)
    for t in range(T):
        feed = {f"{n}_0": s for n, s in zip(layer.state_names, states, strict=True)}
        y, *states = session({"x": x[t].numpy(), **feed}).values()
        np.testing.assert_allclose(y, expected[0][t], rtol=0, atol=1e-12)
    for state, own in zip(states, expected[1:], strict=True):
        np.testing.assert_allclose(state, own, rtol=0, atol=1e-12)


def test_each_layer_is_a_node_where_there_is_one() -> None:
    model = export(stack("a scan above a node"))
    ops = [n.op_type for n in model.graph.node if n.op_type in ("Scan", "RNN", "GRU", "LSTM")]
    assert ops == ["GRU", "Scan", "Scan"]
    with pytest.raises(ValueError) as caught:
        export(stack("a scan above a node"), nodes="standard")
    assert str(caught.value).startswith("cell mingru is no standard ONNX node: ")


@pytest.mark.parametrize("make", [export, export_step])
@pytest.mark.parametrize("name", ["lstm", "lstm_layer_norm", "lstm_coupled"])
def test_every_constant_is_read(name: str, make: Any) -> None:
    """ONNX Runtime warns of each that isn't."""
    layer = ur.Recurrent(ur.layer_norm(cells.CELLS[name]), D, H, 2)
    if name == "lstm_layer_norm":
        layer = ur.Recurrent(cells.lstm_layer_norm, D, H, 2)
    model = make(layer)

    def read(graph: Any) -> set[str]:
        found: set[str] = {value.name for value in graph.output}
        for node in graph.node:
            found |= set(node.input)
            for attribute in node.attribute:
                if attribute.HasField("g"):
                    found |= read(attribute.g)
        return found

    assert {tensor.name for tensor in model.graph.initializer} <= read(model.graph)
