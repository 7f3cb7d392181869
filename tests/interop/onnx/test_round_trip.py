"""What was exported as standard nodes comes back as modules that give the same."""

import pytest
import torch

import unrolled as ur
from onnx_models import rounding
from unrolled.interop.onnx import export, load

D, H, T, B = 3, 5, 6, 4


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_a_layer_comes_back(name: str) -> None:
    torch.manual_seed(0)
    layer = getattr(ur, name)(D, H, bidirectional=True, dtype=torch.float64)
    model = export(layer, nodes="standard")
    module = load(model, node="l0/Y")
    x = torch.randn(T, B, D, dtype=torch.float64)
    y, last = layer(x)
    found, *states = module(x)
    assert found.shape == (T, 2, B, H)
    bound = rounding("float64", T, D + H + 2, 1.0)
    joined = found.transpose(1, 2).flatten(2)
    assert (joined - y).abs().max() <= bound
    for ours, theirs in zip(states, last if name == "LSTM" else [last], strict=True):
        assert (ours - theirs).abs().max() <= bound


@pytest.mark.parametrize("form", ["file", "path", "bytes"])
def test_a_model_is_read_in_every_form(form: str, tmp_path: object) -> None:
    layer = ur.GRU(D, H)
    path = f"{tmp_path}/layer.onnx"
    model = export(layer, path)
    source = {"file": model, "path": path, "bytes": model.SerializeToString()}[form]
    module = load(source, node="l0/Y")
    x = torch.randn(T, B, D)
    with torch.no_grad():
        difference = module(x)[0].squeeze(1) - layer(x)[0]
    assert difference.abs().max() <= rounding("float32", T, D + H + 2, 1.0)
