"""torch.func, forward-mode AD and vectorised gradients of layers, in every form of a call.

Each result is compared with plain reverse-mode gradients, one by one.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils.rnn import pack_padded_sequence

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
    loss_of,
    squares,
    tensors,
)
from unrolled import cells

# Torch's own decompositions for forward mode are made by torch.jit.script, which is deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")

each = pytest.mark.parametrize("sample", SAMPLES.values(), ids=SAMPLES)


def problem(sample: Sample) -> tuple[Any, Any, dict[str, Tensor], Tensor]:
    layer = sample.layer()
    x, given = sample.call(layer)
    return layer, loss_of(layer, given), dict(layer.named_parameters()), x


@each
def test_forward_mode(sample: Sample) -> None:
    _, loss, parameters, x = problem(sample)
    vectors = {n: torch.randn_like(p) for n, p in parameters.items()}
    leaves = [x.requires_grad_(), *parameters.values()]
    d_x, *d = filled(torch.autograd.grad(loss(parameters, x), leaves, allow_unused=True), leaves)
    pairs = zip(d, vectors.values(), strict=True)
    expected = (d_x * d_x).sum() + sum((a * b).sum() for a, b in pairs)
    plain = {n: p.detach() for n, p in parameters.items()}
    tangent = jvp(loss, (plain, x.detach()), (vectors, d_x))[1]
    # A tangent beside each value is thrice the operations, more than the last sum has terms.
    assert_close([tangent], [expected], layers=6)
    with forward_ad.dual_level():
        duals = {n: forward_ad.make_dual(p, vectors[n]) for n, p in plain.items()}
        found = loss(duals, forward_ad.make_dual(x.detach(), d_x))
        assert_close([forward_ad.unpack_dual(found).tangent], [expected], layers=6)


@each
def test_second_derivatives_in_both_ways(sample: Sample) -> None:
    """Forward over reverse equals reverse over reverse."""
    _, loss, parameters, x = problem(sample)
    vector = torch.randn_like(x)
    found = jvp(grad(lambda v: loss(parameters, v)), (x,), (vector,))[1]
    x.requires_grad_()
    (d_x,) = torch.autograd.grad(loss(parameters, x), x, create_graph=True)
    (expected,) = torch.autograd.grad(d_x, x, vector)
    assert_close([found], [expected], layers=6)


@each
def test_gradients_of_each_example(sample: Sample) -> None:
    """``vmap`` of ``grad`` over a functional call; lengths and resets are each example's own."""
    if sample is SAMPLES["noisy"]:
        pytest.skip("one example draws other noise alone than all of them at once")
    layer, _, parameters, x = problem(sample)
    _, given = sample.call(layer)
    dim = 0 if layer.batch_first else 1
    ways = {"lengths": 0, "resets": dim}
    over = {n: v for n, v in given.items() if n in ways}
    more = {n: v for n, v in given.items() if n not in ways}

    def loss(p: dict[str, Tensor], x: Tensor, own: dict[str, Tensor]) -> Tensor:
        own = {n: v.unsqueeze(ways[n]) for n, v in own.items()}
        return squares(functional_call(layer, p, (x.unsqueeze(dim),), {**own, **more}))

    dims = (None, dim, {n: ways[n] for n in over})
    found = vmap(grad(loss), in_dims=dims)(parameters, x, over)
    for b in range(B):
        own = {n: v.select(ways[n], b) for n, v in over.items()}
        alone = loss(parameters, x.select(dim, b), own)
        leaves = list(parameters.values())
        expected = filled(torch.autograd.grad(alone, leaves, allow_unused=True), leaves)
        assert_close([g[b] for g in found.values()], expected)


@each
def test_an_ensemble_of_parameters(sample: Sample) -> None:
    layer, _, parameters, x = problem(sample)
    _, given = sample.call(layer)
    stacked = {n: torch.stack([p.detach() * k for k in (1, 0.5)]) for n, p in parameters.items()}

    def run(p: dict[str, Tensor]) -> list[Tensor]:
        torch.manual_seed(5)
        return tensors(functional_call(layer, p, (x,), given))

    found = vmap(run, randomness="same")(stacked)
    for k in range(2):
        assert_close([t[k] for t in found], run({n: p[k] for n, p in stacked.items()}))


def reached(value: Tensor, leaves: list[Tensor]) -> list[bool]:
    """Which have a gradient at all."""
    found: Any = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
    return [d is not None for d in found]


@each
def test_batched_cotangents(sample: Sample) -> None:
    _, loss, parameters, x = problem(sample)
    leaves = [x.requires_grad_(), *parameters.values()]
    value = loss(parameters, x)
    scales = torch.tensor([1.0, -2.0, 0.5], dtype=x.dtype)
    leaves = [v for v, d in zip(leaves, reached(value, leaves), strict=True) if d]
    found = torch.autograd.grad(value, leaves, scales, is_grads_batched=True, retain_graph=True)
    for k, scale in enumerate(scales):
        expected = torch.autograd.grad(value, leaves, scale, retain_graph=True)
        for a, b in zip(found, expected, strict=True):
            assert_close([a[k]], [b])


@pytest.mark.parametrize("name", ["all at once", "checkpoint", "RNN"])
def test_vectorised_jacobians(name: str) -> None:
    sample = SAMPLES[name]
    layer = sample.layer()
    x, given = sample.call(layer)

    def last(x: Tensor) -> Tensor:
        return layer(x, **given)[1][0].flatten()[:7]

    jacobian = torch.autograd.functional.jacobian
    expected = jacobian(last, x)
    for found in (
        jacobian(last, x, vectorize=True),
        jacobian(last, x, vectorize=True, strategy="forward-mode"),
        torch.func.jacrev(last)(x),
        torch.func.jacfwd(last)(x),
    ):
        assert_close([found], [expected])


@pytest.mark.parametrize("steps", [3, 9])
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_batched_cotangents_of_drop_ins_at_any_length(name: str, steps: int) -> None:
    """Short sequences run on torch's kernels."""
    layer = getattr(ur, name)(D, H, dtype=torch.float64)
    x = torch.randn(steps, B, D, dtype=torch.float64, requires_grad=True)
    y = layer(x)[0]
    d = torch.randn(2, *y.shape, dtype=torch.float64)
    (found,) = torch.autograd.grad(y, x, d, is_grads_batched=True, retain_graph=True)
    for k in range(2):
        assert_close([found[k]], torch.autograd.grad(y, x, d[k], retain_graph=True))


def test_lengths_that_vmap_hides() -> None:
    """Other lengths and resets in each entry, and nothing past the ends counts, not even NaN."""
    layer = ur.Recurrent(cells.lstm, D, H, 2, bidirectional=True, dtype=torch.float64)
    x = torch.randn(T, B, D, dtype=torch.float64)
    x[7:] = torch.nan
    lengths = torch.stack([LENGTHS, LENGTHS.flip(0), LENGTHS // 2]).clamp(max=7)
    resets = torch.rand(3, T, B) < 0.3

    def run(lengths: Tensor, resets: Tensor) -> list[Tensor]:
        return tensors(layer(x, lengths=lengths, resets=resets))

    found = vmap(run)(lengths, resets)
    for k in range(3):
        assert_close([t[k] for t in found], run(lengths[k], resets[k]))

    def loss(p: dict[str, Tensor], lengths: Tensor) -> Tensor:
        return squares(functional_call(layer, p, (x,), {"lengths": lengths}))

    parameters: dict[str, Tensor] = dict(layer.named_parameters())
    gradients = vmap(grad(loss), in_dims=(None, 0))(parameters, lengths)
    assert all(g.isfinite().all() for g in gradients.values())
    # Numbers that can't be read can't be refused either: those beyond T are taken as T.
    x = torch.zeros_like(x)
    beyond = vmap(lambda v: layer(x, lengths=v)[0])(torch.full((1, B), T + 5))
    assert_close([beyond[0]], [layer(x)[0]])


def test_lengths_on_the_meta_device() -> None:
    layer = ur.Recurrent(cells.gru, D, H, device="meta")
    x = torch.empty(T, B, D, device="meta")
    for lengths in (LENGTHS, LENGTHS.to("meta")):
        y, (h,) = layer(x, lengths=lengths)
        assert (y.shape, h.shape, y.is_meta) == ((T, B, H), (1, B, H), True)


def test_what_vmap_does_not_say_of_lengths_is_checked() -> None:
    layer = ur.Recurrent(cells.gru, D, H)
    x = torch.randn(T, B, D)
    with pytest.raises(TypeError, match=r"lengths must be whole numbers, got torch.float32"):
        vmap(lambda v: layer(x, lengths=v)[0])(torch.ones(2, B))
    with pytest.raises(ValueError, match=r"lengths must be \[B\] = \[5\].*got \[4\]"):
        vmap(lambda v: layer(x, lengths=v)[0])(torch.ones(2, 4).long())


# Torch loops over what its own function does not batch, and says so.
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_a_packed_sequence_made_within_vmap_is_refused() -> None:
    layer = ur.Recurrent(cells.gru, D, H)

    def run(x: Tensor) -> Tensor:
        return layer(pack_padded_sequence(x, LENGTHS.clamp(min=1), enforce_sorted=False))[0].data

    with pytest.raises(ValueError) as error:
        vmap(run)(torch.randn(2, T, B, D))
    assert str(error.value) == (
        "a PackedSequence that is made within vmap does not say its lengths: give the padded "
        "tensor and lengths="
    )


def test_torchs_own_kernels_are_not_blamed_on_the_input() -> None:
    layer = ur.LSTM(D, H, backend="torch")
    with pytest.raises(RuntimeError) as error:
        vmap(lambda v: layer(v)[0])(torch.randn(2, T, B, D))
    assert str(error.value) == (
        "torch's own kernels, which backend='torch' runs, have no rules for some of torch.func's "
        "transforms and of forward-mode AD: take backend='auto', which runs the equations there"
    )


def test_noise_needs_to_know_whether_it_is_the_same() -> None:
    """Torch's own rule and words."""
    layer = SAMPLES["noisy"].layer()
    x = torch.randn(2, T, B, D, dtype=torch.float64)
    with pytest.raises(RuntimeError, match="randomness flags"):
        vmap(lambda v: layer(v)[0])(x)
    same = vmap(lambda v: layer(v)[0], randomness="same")(torch.stack([x[0], x[0]]))
    assert_close([same[0]], [same[1]])
    different = vmap(lambda v: layer(v)[0], randomness="different")(torch.stack([x[0], x[0]]))
    assert (different[0] - different[1]).abs().max() > 0.1
    layer.eval()
    vmap(lambda v: layer(v)[0])(x)


def test_second_derivatives_of_drop_ins_are_torchs() -> None:
    mine, theirs = ur.GRU(D, H, 2, dtype=torch.float64), nn.GRU(D, H, 2, dtype=torch.float64)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(T, B, D, dtype=torch.float64)
    found = []
    for module in (mine, copy.deepcopy(theirs)):
        v = x.clone().requires_grad_()
        (d,) = torch.autograd.grad(squares(module(v)), v, create_graph=True)
        found.append(torch.autograd.grad(d.square().sum(), [v, *module.parameters()]))
    assert_close(*found, layers=6)
