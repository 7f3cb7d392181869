"""Parameters that are computed: weight drop, weight and spectral normalisation, pruning."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune

import unrolled as ur
from layer_samples import B, D, H, T, random, rounding
from unrolled import cells

LAYERS: dict[str, tuple[Callable[..., Any], str]] = {
    "Recurrent": (lambda **o: ur.Recurrent(ur.layer_norm(cells.gru_cho, "h"), D, H, 2, **o), "U"),
    "RNN": (lambda **o: ur.RNN(D, H, 2, **o), "weight_hh"),
    "GRU": (lambda **o: ur.GRU(D, H, 2, bidirectional=True, **o), "weight_hh"),
    "LSTM": (lambda **o: ur.LSTM(D, H, 2, **o), "weight_hh"),
}
CASES = [
    (kind, backend)
    for kind in LAYERS
    for backend in ("cpu", "reference", "auto", *(["torch"] if kind != "Recurrent" else []))
]
ALL = pytest.mark.parametrize(("kind", "backend"), CASES)


def build(kind: str, backend: str) -> tuple[Any, str, Tensor]:
    torch.manual_seed(0)
    make, name = LAYERS[kind]
    return make(backend=backend, dtype=torch.float64), name, random(T, B, D)


def plain(kind: str, backend: str, weights: dict[str, Tensor]) -> Any:
    """A layer without any parametrization that has these weights."""
    layer, _, _ = build(kind, backend)
    layer.load_state_dict({**layer.state_dict(), **weights})
    return layer


def assert_equal(kind: str, backend: str, x: Tensor, y: Tensor, weights: dict[str, Tensor]) -> None:
    expected, _ = plain(kind, backend, weights)(x)
    torch.testing.assert_close(y, expected, rtol=0, atol=rounding(2, T, B, 10.0))
    assert not torch.equal(y, plain(kind, backend, {})(x)[0])


@ALL
def test_weight_drop(kind: str, backend: str) -> None:
    layer, name, x = build(kind, backend)
    n = len([p for p, _ in layer.named_parameters() if p.startswith(name)])
    assert ur.weight_drop(layer, name, 0.5) is layer
    effective: dict[str, Tensor] = {}
    seen: dict[str, int] = {}

    def note(each: str) -> Any:
        def hook(module: nn.Module, args: Any, out: Tensor) -> None:
            effective[each] = out.detach()
            seen[each] = seen.get(each, 0) + 1

        return hook

    for each, of in layer.parametrizations.items():
        of.register_forward_hook(note(each))
    y, _ = layer(x)
    assert seen == dict.fromkeys(layer.parametrizations, 1), "drawn once a call"
    assert len(seen) == n
    for each, weight in effective.items():
        original = layer.parametrizations[each].original
        kept = weight != 0
        assert 0.2 < kept.double().mean() < 0.8
        assert torch.equal(weight[kept], 2 * original.detach()[kept])
    assert_equal(kind, backend, x, y, dict(effective))
    assert not torch.equal(y, layer(x)[0])
    y, _ = layer(x)
    (y * random(*y.shape)).sum().backward()
    for each, weight in effective.items():
        grad = layer.parametrizations[each].original.grad
        assert torch.equal(grad[weight == 0], torch.zeros_like(grad[weight == 0]))
        assert grad.any()
    layer.eval()
    torch.testing.assert_close(
        layer(x)[0], plain(kind, backend, {})(x)[0], rtol=0, atol=rounding(2, T, B, 10.0)
    )


@ALL
def test_weight_norm(kind: str, backend: str) -> None:
    layer, name, x = build(kind, backend)
    parametrizations.weight_norm(layer, f"{name}_l1")
    with torch.no_grad():
        layer.parametrizations[f"{name}_l1"].original0.mul_(0.5)
    y, _ = layer(x)
    assert_equal(kind, backend, x, y, {f"{name}_l1": getattr(layer, f"{name}_l1").detach()})
    (y * random(*y.shape)).sum().backward()
    assert layer.parametrizations[f"{name}_l1"].original0.grad.any()
    parametrize.remove_parametrizations(layer, f"{name}_l1")
    if backend != "torch":
        assert torch.equal(layer(x)[0], y)


@ALL
def test_spectral_norm(kind: str, backend: str) -> None:
    layer, name, x = build(kind, backend)
    parametrizations.spectral_norm(layer, f"{name}_l0")
    layer.eval()
    y, _ = layer(x)
    weight = getattr(layer, f"{name}_l0").detach()
    assert_equal(kind, backend, x, y, {f"{name}_l0": weight})
    layer.train()
    y, _ = layer(x)
    (y * random(*y.shape)).sum().backward()
    assert layer.parametrizations[f"{name}_l0"].original.grad.any()


@ALL
def test_pruning(kind: str, backend: str) -> None:
    layer, name, x = build(kind, backend)
    prune.l1_unstructured(layer, f"{name}_l0", amount=0.5)
    y, _ = layer(x)
    weight = getattr(layer, f"{name}_l0").detach()
    assert int((weight == 0).sum()) == round(0.5 * weight.numel())
    assert_equal(kind, backend, x, y, {f"{name}_l0": weight})
    (y * random(*y.shape)).sum().backward()
    grad = getattr(layer, f"{name}_l0_orig").grad
    assert torch.equal(grad[weight == 0], torch.zeros_like(grad[weight == 0]))
    assert grad.any()
    prune.remove(layer, f"{name}_l0")
    torch.testing.assert_close(layer(x)[0], y, rtol=0, atol=rounding(2, T, B, 10.0))


def test_one_matrix_alone() -> None:
    layer: Any = ur.Recurrent(cells.gru_cho, D, H, 2, bidirectional=True)
    ur.weight_drop(layer, "U_l1", 0.1)
    assert list(layer.parametrizations) == ["U_l1"]
    assert "WeightDrop(p=0.1)" in repr(layer)
    assert "parametrizations.U_l1.original" in layer.state_dict()


def test_a_matrix_that_is_parametrized_already_is_dropped_too() -> None:
    layer: Any = ur.LSTM(D, H, 2)
    parametrizations.spectral_norm(layer, "weight_hh_l0")
    ur.weight_drop(layer, "weight_hh", 0.5)
    for each in ("weight_hh_l0", "weight_hh_l1"):
        assert 0.2 < (getattr(layer, each) != 0).double().mean() < 0.8
    layer.eval()
    normalised = layer.weight_hh_l0.detach()
    assert (normalised != 0).all()
    torch.testing.assert_close(
        torch.linalg.matrix_norm(normalised, 2).item(), 1.0, atol=0.5, rtol=0
    )


def test_called_again_it_changes_the_probability() -> None:
    layer: Any = ur.weight_drop(ur.Recurrent(cells.gru_cho, D, H, 2), "U", 0.5)
    ur.weight_drop(layer, "U_l1", 0.0)
    assert [len(of) for of in layer.parametrizations.values()] == [1, 1]
    assert [of[0].p for of in layer.parametrizations.values()] == [0.5, 0.0]
    assert (layer.U_l1 != 0).all()
    assert (layer.U_l0 == 0).any()


def test_pruned_matrices_are_not_dropped_by_halves() -> None:
    layer: Any = ur.LSTM(D, H, 2)
    prune.l1_unstructured(layer, "weight_hh_l1", amount=0.5)
    with pytest.raises(ValueError) as caught:
        ur.weight_drop(layer, "weight_hh")
    assert str(caught.value) == (
        "weight_drop: weight_hh_l1 of LSTM is pruned, and computed again at each call: make that "
        "permanent first, torch.nn.utils.prune.remove(layer, 'weight_hh_l1')"
    )
    assert not parametrize.is_parametrized(layer)
    prune.remove(layer, "weight_hh_l1")
    ur.weight_drop(layer, "weight_hh")
    assert sorted(layer.parametrizations) == ["weight_hh_l0", "weight_hh_l1"]


def test_what_is_refused() -> None:
    layer = ur.Recurrent(cells.gru_cho, D, H)
    with pytest.raises(ValueError) as caught:
        ur.weight_drop(layer, "V")
    assert str(caught.value) == (
        "weight_drop: Recurrent has no parameter 'V'; it has W_l0, U_l0, b_l0"
    )
    with pytest.raises(ValueError) as caught:
        ur.weight_drop(layer, "U", 1.5)
    assert str(caught.value) == "p should be a number in range [0, 1], got 1.5"
    ur.weight_drop(layer, "U")
    before = {n: t.clone() for n, t in layer.state_dict().items()}
    with pytest.raises(ValueError) as caught:
        ur.weight_drop(layer, "V")
    assert str(caught.value) == (
        "weight_drop: Recurrent has no parameter 'V'; it has W_l0, b_l0, U_l0"
    )
    with pytest.raises(RuntimeError) as computed:
        layer.reset_parameters()
    assert all(torch.equal(t, before[n]) for n, t in layer.state_dict().items())
    assert str(computed.value) == (
        "U_l0 is computed from other parameters: take its parametrization or pruning off before "
        "reset_parameters()"
    )
