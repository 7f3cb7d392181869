"""What torch's tools do to any module, done to layers of every kind."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import unrolled as ur
from citizen_samples import (
    LENGTHS,
    SAMPLES,
    B,
    D,
    H,
    Sample,
    T,
    assert_close,
    filled,
    squares,
    tensors,
)
from unrolled import cells

each = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)
F32 = torch.float32


def results(layer: Any, x: Tensor, given: dict[str, Any]) -> list[Tensor]:
    torch.manual_seed(5)
    return tensors(layer(x, **given))


def assert_same(found: list[Tensor], expected: list[Tensor]) -> None:
    assert len(found) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def gradients(layer: Any, x: Tensor, given: dict[str, Any]) -> list[Tensor]:
    leaves = [x, *layer.parameters()]
    loss = squares(results(layer, x, given))
    return filled(torch.autograd.grad(loss, leaves, allow_unused=True), leaves)


@each
def test_copies_and_pickles(sample: Sample) -> None:
    layer = sample.layer()
    x, given = sample.call(layer)
    expected = results(layer, x, given)
    saved = io.BytesIO()
    torch.save(layer, saved)
    saved.seek(0)
    for twin in (
        copy.deepcopy(layer),
        pickle.loads(pickle.dumps(layer)),
        torch.load(saved, weights_only=False),
    ):
        assert_same(results(twin, x, given), expected)


@each
def test_state_dicts_and_the_meta_device(sample: Sample) -> None:
    layer = sample.layer()
    x, given = sample.call(layer)
    expected = results(layer, x, given)
    other = copy.deepcopy(layer)
    other.reset_parameters()
    other.load_state_dict(layer.state_dict())
    assert_same(results(other, x, given), expected)
    on_meta = sample.layer(device="meta")
    shapes = [t.shape for t in results(on_meta, x.to("meta"), _to_meta(given))]
    assert shapes == [t.shape for t in expected]
    on_meta.load_state_dict(layer.state_dict(), assign=True)
    assert_same(results(on_meta, x, given), expected)
    empty = sample.layer(device="meta").to_empty(device="cpu")
    empty.reset_parameters()
    assert all(t.isfinite().all() for t in results(empty, x, given))
    with torch.device("meta"):
        assert all(p.is_meta for p in sample.layer().parameters())
    state = layer.state_dict()
    state.pop(next(iter(state)))
    with pytest.raises(RuntimeError, match="Missing key"):
        other.load_state_dict(state)


def _to_meta(given: dict[str, Any]) -> dict[str, Any]:
    return {n: v.to("meta") if isinstance(v, Tensor) else v for n, v in given.items()}


def test_skip_init() -> None:
    for layer in (
        nn.utils.skip_init(ur.LSTM, D, H),
        nn.utils.skip_init(ur.Recurrent, cells.lstm, D, H, learn_initial=True),
    ):
        assert {p.device.type for p in layer.parameters()} == {"cpu"}


@each
def test_dtypes(sample: Sample) -> None:
    layer = sample.layer(F32)
    x, given = sample.call(layer)
    single = results(layer, x, given)
    double = results(layer.double(), x.double(), given)
    assert {t.dtype for t in double} == {torch.float64}
    if sample is not SAMPLES["noisy"]:
        assert_close(single, [t.float() for t in double])
    torch.set_default_dtype(torch.float64)
    try:
        assert_same(results(layer, x.double(), given), double)
        assert {p.dtype for p in sample.make(**sample.options).parameters()} == {torch.float64}
    finally:
        torch.set_default_dtype(F32)


@each
def test_hooks(sample: Sample) -> None:
    layer = sample.layer()
    x, given = sample.call(layer)
    x.requires_grad_()
    expected, d = results(layer, x, given), gradients(layer, x, given)
    seen: list[Any] = []
    layer.register_forward_pre_hook(lambda *_: seen.append("before"))
    layer.register_forward_hook(lambda *_: seen.append("after"))
    layer.register_full_backward_pre_hook(lambda *_: seen.append("before backward"))
    layer.register_full_backward_hook(lambda _m, d_in, _d_out: seen.append(d_in[0]))
    found = gradients(layer, x, given)
    *names, d_x = seen
    assert names == ["before", "after", "before backward"]
    assert_same(found, d)
    assert torch.equal(d_x, d[0])
    layer.register_forward_hook(lambda _m, _a, y: (2 * y[0], *y[1:]))
    assert torch.equal(results(layer, x, given)[0], 2 * expected[0])
    seen.clear()
    layer.register_state_dict_pre_hook(lambda *_: seen.append("save"))
    layer.register_state_dict_post_hook(lambda *_: seen.append("saved"))
    layer.register_load_state_dict_pre_hook(lambda *_: seen.append("load"))
    layer.register_load_state_dict_post_hook(lambda *_: seen.append("loaded"))
    layer.load_state_dict(layer.state_dict())
    assert seen == ["save", "saved", "load", "loaded"]


@each
def test_parameters_as_a_vector(sample: Sample) -> None:
    layer = sample.layer()
    x, given = sample.call(layer)
    doubled = copy.deepcopy(layer)
    with torch.no_grad():
        for p in doubled.parameters():
            p.mul_(2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(2 * vector, layer.parameters())
    assert_same(results(layer, x, given), results(doubled, x, given))


@each
def test_torchs_checkpoint_and_hooks_on_what_is_saved(sample: Sample) -> None:
    layer = sample.layer()
    x, given = sample.call(layer)
    x.requires_grad_()
    expected = gradients(layer, x, given)

    def again(x: Tensor, **given: Any) -> Any:
        return checkpoint(layer, x, use_reentrant=False, **given)

    again.parameters = layer.parameters  # type: ignore[attr-defined]
    assert_same(gradients(again, x, given), expected)
    with torch.autograd.graph.saved_tensors_hooks(Tensor.clone, lambda t: t):
        assert_same(gradients(layer, x, given), expected)


@each
def test_optimizers_in_every_form(sample: Sample) -> None:
    """Adam's step grows what rounding leaves where a gradient is small: compared over one."""
    updated: list[list[Tensor]] = []
    ways: list[dict[str, Any]] = [{"foreach": False}, {"foreach": True}, {"fused": True}]
    for how in ways:
        layer = sample.layer()
        x, given = sample.call(layer)
        optimizer = torch.optim.AdamW(layer.parameters(), lr=0.01, **how)
        squares(results(layer, x, given)).backward()
        nn.utils.clip_grad_norm_(layer.parameters(), 0.1)
        optimizer.step()
        updated.append([p.detach() for p in layer.parameters()])
    assert_close(updated[1], updated[0])
    assert_close(updated[2], updated[0])


@each
def test_inference_mode_and_frozen_parameters(sample: Sample) -> None:
    layer = sample.layer()
    x, given = sample.call(layer)
    expected = results(layer, x, given)
    with torch.inference_mode():
        found = results(layer, x, given)
    assert_same(found, [t.detach() for t in expected])
    assert found[0].is_inference()
    assert not results(layer.requires_grad_(False), x, given)[0].requires_grad


@each
def test_a_seed_decides(sample: Sample) -> None:
    one, two = sample.layer(), sample.layer()
    assert_same(list(one.parameters()), list(two.parameters()))
    x, given = sample.call(one)
    torch.use_deterministic_algorithms(True)
    try:
        assert_same(gradients(one, x.requires_grad_(), given), gradients(two, x, given))
    finally:
        torch.use_deterministic_algorithms(False)


@each
def test_autocast(sample: Sample) -> None:
    """bfloat16 comes in; sums, states and results are float32, to the bit those of float32."""
    if isinstance(sample.layer(), nn.RNNBase) and not sample.given:
        pytest.skip("without lengths and resets drop-ins run as torch's own under autocast")
    layer = sample.layer(F32)
    x, given = sample.call(layer)
    expected = results(layer, x.bfloat16().float(), given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = results(layer, x.bfloat16(), given)
    assert {t.dtype for t in found} == {F32}
    assert_same(found, expected)
    squares(found).backward()
    assert all(p.grad is None or p.grad.dtype is F32 for p in layer.parameters())


# What torch.jit says of itself, and of the checks in torch.nn's own modules.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_drop_ins_are_traced_as_torchs(name: str) -> None:
    layer = getattr(ur, name)(D, H, 2, bidirectional=True)
    x = torch.randn(T, B, D)
    traced: Any = torch.jit.trace(layer, (x,))
    longer = torch.randn(2 * T, B, D)
    assert_close(tensors(traced(longer)), tensors(layer(longer)), steps=2 * T)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_what_torch_jit_can_not_trace() -> None:
    message = (
        "torch.jit.trace can't record compiled equations: take torch.export.export, or RNN, GRU "
        "or LSTM with backend='auto', without lengths and resets, which are traced as torch's own"
    )
    uneven = ur.GRU(D, H)

    def with_lengths(x: Tensor) -> Tensor:
        return uneven(x, lengths=LENGTHS)[0]

    for run in (ur.Recurrent(cells.gru, D, H), ur.GRU(D, H, backend="reference"), with_lengths):
        with pytest.raises(RuntimeError) as error:
            torch.jit.trace(run, (torch.randn(T, B, D),))
        assert str(error.value) == message
