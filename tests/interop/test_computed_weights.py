"""Exports of a layer in training whose parameters are computed: what evaluation computes with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
import torch
from torch import Tensor

import unrolled as ur
from computed_weights import COMPUTED
from onnx_models import Session
from unrolled import cells
from unrolled.interop import c, to_keras
from unrolled.interop.onnx import export, export_step

D, H, T, B = 3, 5, 4, 2
LAYERS = {
    "Recurrent": (lambda: ur.Recurrent(cells.gru, D, H), "W_hh_l0"),
    "GRU": (lambda: ur.GRU(D, H), "weight_hh_l0"),
}
EACH = pytest.mark.parametrize(("kind", "way"), [(k, w) for k in LAYERS for w in COMPUTED])


def layer_with(kind: str, way: str) -> tuple[Any, Tensor, Tensor]:
    """A layer in training, an input [T, B, D] and what it gives in evaluation."""
    torch.manual_seed(0)
    make, name = LAYERS[kind]
    layer: Any = make()
    COMPUTED[way](layer, name)
    x = torch.randn(T, B, D)
    y = layer.eval()(x)[0].detach()
    return layer.train(), x, y


def close(found: Tensor, expected: Tensor) -> None:
    """A step adds up D + H products and ten values of at most 1; errors grow over T steps."""
    bound = 2 * T * (D + H + 10) * torch.finfo(torch.float32).eps
    torch.testing.assert_close(found, expected, rtol=0, atol=bound)


@EACH
def test_c(kind: str, way: str, tmp_path: Path) -> None:
    layer, _, _ = layer_with(kind, way)
    before = {n: t.clone() for n, t in layer.state_dict().items()}
    files = c.export(layer, tmp_path / "training", "m")
    assert all(torch.equal(t, layer.state_dict()[n]) for n, t in before.items())
    expected = c.export(layer.eval(), tmp_path / "evaluation", "m")
    assert [f.read_text() for f in files] == [f.read_text() for f in expected]


@EACH
def test_keras(kind: str, way: str) -> None:
    layer, x, y = layer_with(kind, way)
    (data,) = to_keras(layer)
    theirs: Any = keras.layers.deserialize(data.serialized())
    theirs.build((None, None, D))
    theirs.set_weights(data.weights)
    close(theirs(x.transpose(0, 1)).transpose(0, 1).detach(), y)


@EACH
def test_onnx(kind: str, way: str) -> None:
    layer, x, y = layer_with(kind, way)
    for nodes in ("standard", "scan"):
        close(torch.tensor(Session(export(layer, nodes=nodes))({"x": x.numpy()})["y"]), y)
    step = Session(export_step(layer))
    found = step({"x": x[0].numpy(), "h_0": torch.zeros(1, B, H).numpy()})
    close(torch.tensor(found["y"]), y[0])
