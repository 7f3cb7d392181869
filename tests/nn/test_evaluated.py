"""Parameters as evaluation reads them, from a layer in training, which stays as it was."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import spectral_norm, weight_norm

import unrolled as ur
from computed_weights import COMPUTED
from layer_samples import assert_near
from unrolled import cells
from unrolled.nn.evaluated import evaluated, evaluated_state

T, B, D, H = 4, 2, 3, 5
LAYERS = {
    "Recurrent": (lambda: ur.Recurrent(cells.gru_cho, D, H, dtype=torch.float64), "U_l0"),
    "LSTM": (lambda: ur.LSTM(D, H, dtype=torch.float64), "weight_hh_l0"),
}


def layer_with(kind: str, way: str) -> tuple[Any, str]:
    torch.manual_seed(0)
    make, name = LAYERS[kind]
    layer = make()
    COMPUTED[way](layer, name)
    return layer.train(), name


def copied(layer: nn.Module) -> dict[str, Tensor]:
    return {name: t.clone() for name, t in layer.state_dict().items()}


def outputs(layer: Any, x: Tensor) -> Tensor:
    """In evaluation, after which it is back in training."""
    layer.eval()
    y = layer(x)[0].detach()
    layer.train()
    return y


@pytest.mark.parametrize("way", COMPUTED)
@pytest.mark.parametrize("kind", LAYERS)
def test_evaluation_reads_the_same_and_nothing_changes(kind: str, way: str) -> None:
    layer, name = layer_with(kind, way)
    drawn, before = torch.get_rng_state(), copied(layer)
    found = evaluated(layer, name)
    state = evaluated_state(layer)
    assert torch.equal(torch.get_rng_state(), drawn)
    after = layer.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[n], t) for n, t in before.items())
    assert all(module.training for module in layer.modules())
    layer.eval()
    assert torch.equal(found, getattr(layer, name))
    plain = LAYERS[kind][0]()
    assert state.keys() == plain.state_dict().keys()
    plain.load_state_dict(state)
    x = torch.randn(T, B, D, dtype=torch.float64)
    assert_near([plain(x)[0]], [layer(x)[0]], 1, T, B)


def test_frozen_inner_modules_stay_frozen() -> None:
    layer, name = layer_with("Recurrent", "spectral_norm")
    inner = layer.parametrizations[name][0]
    inner.eval()
    evaluated(layer, name)
    assert (inner.training, layer.parametrizations[name].training) == (False, True)


@pytest.mark.parametrize("way", [weight_norm, spectral_norm])
def test_torchs_older_hooks(way: Any) -> None:
    """What they compute at each call is as old as the last one."""
    layer, name = LAYERS["Recurrent"]
    module: Any = layer()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        way(module, name)
    with torch.no_grad():
        for p in module.parameters():
            p.mul_(1.5)
    before = copied(module)
    found, state = evaluated(module, name), evaluated_state(module)
    assert all(torch.equal(t, module.state_dict()[n]) for n, t in before.items())
    module.eval()
    module(torch.randn(T, B, D, dtype=torch.float64))
    assert torch.equal(found, getattr(module, name))
    assert state.keys() == layer().state_dict().keys()


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("way", COMPUTED)
@pytest.mark.parametrize("kind", LAYERS)
def test_a_stream_of_a_layer_in_training(kind: str, way: str, backend: str) -> None:
    layer, _ = layer_with(kind, way)
    layer.backend = backend
    x = torch.randn(T, B, D, dtype=torch.float64)
    before = copied(layer)
    stream = layer.stream(B)
    found = torch.stack([stream.step(x_t).clone() for x_t in x])
    assert all(torch.equal(t, layer.state_dict()[n]) for n, t in before.items())
    assert_near([found], [outputs(layer, x)], 1, T, B)
    # It follows what the parameter is computed from.
    with torch.no_grad():
        for p in layer.parameters():
            p.mul_(1.5)
    stream.reset()
    later = torch.stack([stream.step(x_t).clone() for x_t in x])
    assert_near([later], [outputs(layer, x)], 1, T, B)
    assert (later - found).abs().max() > 1e-3
