"""The drop-ins as modules: arguments, first values, ``state_dict``, copies, parametrizations."""

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, parametrizations

import unrolled.nn as un
from layer_samples import KINDS, B, D, H, T, pair, random, results, rounding

BACKENDS = ("auto", "torch", "reference")

# Every argument by position, in torch's documented order, none at its default.
POSITIONAL: dict[str, tuple[Any, ...]] = {
    "RNN": (D, H, 2, "relu", False, True, 0.5, True),
    "GRU": (D, H, 2, False, True, 0.5, True),
    "LSTM": (D, H, 2, False, True, 0.5, True, 2),
}
ATTRIBUTES = (
    "mode", "input_size", "hidden_size", "num_layers", "bias", "batch_first", "dropout",
    "bidirectional", "proj_size",
)  # fmt: skip


@pytest.mark.parametrize("kind", POSITIONAL)
def test_arguments_by_position(kind: str) -> None:
    ours, theirs = getattr(un, kind)(*POSITIONAL[kind]), getattr(nn, kind)(*POSITIONAL[kind])
    for attribute in ATTRIBUTES:
        assert getattr(ours, attribute) == getattr(theirs, attribute)
    assert repr(ours) == repr(theirs)
    assert isinstance(ours, getattr(nn, kind))


@pytest.mark.parametrize("kind", POSITIONAL)
def test_device_and_dtype_by_position(kind: str) -> None:
    module = getattr(un, kind)(*POSITIONAL[kind], "meta", torch.float64)
    assert {(p.device.type, p.dtype) for p in module.parameters()} == {("meta", torch.float64)}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no-bias"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_torchs_first_values(kind: str, bias: bool, backend: str) -> None:
    name, more = KINDS[kind]
    options = {"num_layers": 2, "bidirectional": True, "bias": bias, **more}
    torch.manual_seed(3)
    theirs = getattr(nn, name)(D, H, **options)
    torch.manual_seed(3)
    ours = getattr(un, name)(D, H, backend=backend, **options)
    for drawn_again in (False, True):
        if drawn_again:
            torch.manual_seed(4)
            theirs.reset_parameters()
            torch.manual_seed(4)
            ours.reset_parameters()
        expected, found = theirs.state_dict(), ours.state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    assert [[p.shape for p in row] for row in ours.all_weights] == [
        [p.shape for p in row] for row in theirs.all_weights
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_state_dict_both_ways(kind: str) -> None:
    name, more = KINDS[kind]
    ours = getattr(un, name)(D, H, 2, bidirectional=True, backend="reference", **more)
    theirs = getattr(nn, name)(D, H, 2, bidirectional=True, **more)
    x = random(T, B, D, dtype=torch.float32)
    with torch.no_grad():
        before, _ = ours(x)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    getattr(un, name)(D, H, 2, bidirectional=True, **more).load_state_dict(theirs.state_dict())
    file = io.BytesIO()
    torch.save(theirs.state_dict(), file)
    file.seek(0)
    other = getattr(un, name)(D, H, 2, bidirectional=True, backend="reference", **more)
    other.load_state_dict(torch.load(file), strict=True)
    with torch.no_grad():
        assert torch.equal(other(x)[0], before)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_copies_compute_the_same_and_stand_alone(kind: str, backend: str) -> None:
    ours, _ = pair(kind, backend, num_layers=2)
    x = random(T, B, D)
    y, _ = ours(x)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert other.backend == backend
        assert other.cell is ours.cell
        assert torch.equal(other(x)[0], y)
        with torch.no_grad():
            other.weight_ih_l0.zero_()
        assert torch.equal(ours(x)[0], y)
        assert not torch.equal(other(x)[0], y)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_that_are_replaced_are_used(kind: str, backend: str) -> None:
    ours, theirs = pair(kind, backend)
    value = random(*theirs.weight_hh_l0.shape)
    x = random(T, B, D)
    for module in (ours, theirs):
        module.weight_hh_l0 = nn.Parameter(value)
    expected, _ = theirs(x)
    bound = rounding(1, T, B, 10 * expected.abs().max().item())
    torch.testing.assert_close(ours(x)[0], expected, rtol=0, atol=bound)
    ours.double().to("cpu").flatten_parameters()
    torch.testing.assert_close(ours(x)[0], expected, rtol=0, atol=bound)


@pytest.mark.parametrize("how", [parametrizations.weight_norm, parametrizations.orthogonal])
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_parametrized_weights(kind: str, backend: str, how: Any) -> None:
    ours, theirs = pair(kind, backend)
    for module in (ours, theirs):
        torch.manual_seed(0)
        how(module, "weight_hh_l0")
    ours.load_state_dict(theirs.state_dict())
    x = random(T, B, D).requires_grad_()
    expected = results(lambda: theirs(x), [x], theirs)
    found = results(lambda: ours(x), [x], ours)
    found.assert_equal(expected, rounding(2, T, B, expected.magnitude))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_functional_call_uses_the_parameters_given(kind: str, backend: str) -> None:
    ours, theirs = pair(kind, backend)
    given = {name: random(*p.shape) / H for name, p in theirs.named_parameters()}
    x = random(T, B, D)
    expected, _ = torch.func.functional_call(theirs, given, (x,))
    found, _ = torch.func.functional_call(ours, given, (x,))
    bound = rounding(1, T, B, expected.abs().max().item())
    torch.testing.assert_close(found, expected, rtol=0, atol=bound)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
def test_training_with_clipping_follows_torch(kind: str, backend: str) -> None:
    ours, theirs = pair(kind, backend, num_layers=2)
    x, target = random(T, B, D), random(T, B, theirs.proj_size or H)
    optimizers = {m: torch.optim.SGD(m.parameters(), lr=0.5) for m in (ours, theirs)}
    for _ in range(3):
        norms: list[torch.Tensor] = []
        for module, optimizer in optimizers.items():
            optimizer.zero_grad()
            nn.functional.mse_loss(module(x)[0], target).backward()
            norms.append(clip_grad_norm_(module.parameters(), 0.1))
            optimizer.step()
        torch.testing.assert_close(norms[0], norms[1], rtol=0, atol=rounding(2, T, B, 1.0))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        # Three updates, each with the learning rate and a gradient of norm 0.1 at most.
        torch.testing.assert_close(a, b, rtol=0, atol=3 * 0.5 * rounding(2, T, B, 1.0))


def test_attributes_may_be_changed_after_construction() -> None:
    ours, theirs = pair("lstm", "reference", num_layers=2, dropout=0.5)
    for module in (ours, theirs):
        module.batch_first, module.dropout = True, 0.0
    x = random(B, T, D)
    expected, _ = theirs(x)
    bound = rounding(2, T, B, expected.abs().max().item())
    torch.testing.assert_close(ours(x)[0], expected, rtol=0, atol=bound)


@pytest.mark.parametrize(
    ("kind", "options", "size"),
    [
        ("GRU", {}, H),
        ("GRU", {"bidirectional": True}, 2 * H),
        ("LSTM", {"bidirectional": True, "proj_size": 2}, 4),
    ],
)
def test_output_size(kind: str, options: dict[str, Any], size: int) -> None:
    module = getattr(un, kind)(D, H, dtype=torch.float64, **options)
    assert module.output_size == size == module(random(T, B, D))[0].shape[-1]


def test_repr_names_a_chosen_backend() -> None:
    assert repr(un.GRU(3, 5, 2, bias=False)) == "GRU(3, 5, num_layers=2, bias=False)"
    assert repr(un.GRU(3, 5, backend="reference")) == "GRU(3, 5, backend='reference')"
