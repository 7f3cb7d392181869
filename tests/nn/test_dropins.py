"""The drop-ins against ``torch.nn``: outputs, final states, gradients, in every configuration."""

import itertools
from typing import Any

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from layer_samples import (
    FORMS,
    KINDS,
    LENGTHS,
    B,
    D,
    H,
    T,
    batch,
    initial_state,
    pair,
    random,
    results,
    rounding,
    tensors,
)

CONFIGURATIONS = list(itertools.product(KINDS, (1, 2, 3), (False, True), (True, False), FORMS))


def name(value: Any) -> str:
    return str(value)


@pytest.mark.parametrize("with_state", [True, False], ids=["given", "zero"])
@pytest.mark.parametrize(("kind", "layers", "bidirectional", "bias", "form"), CONFIGURATIONS)
def test_compiled_equals_torch(
    kind: str, layers: int, bidirectional: bool, bias: bool, form: str, with_state: bool
) -> None:
    torch.manual_seed(1)
    ours, theirs = pair(
        kind, "reference", num_layers=layers, bidirectional=bidirectional, bias=bias,
        batch_first=form == "batch-first",
    )  # fmt: skip
    x, sources, n = batch(form)
    hx = initial_state(theirs, form, n) if with_state else None
    sources = (*sources, *tensors(hx))
    expected = results(lambda: theirs(x, hx), sources, theirs)
    found = results(lambda: ours(x, hx), sources, ours)
    found.assert_equal(expected, rounding(layers, T, n, expected.magnitude))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=name)
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
def test_auto_runs_torchs_kernels_to_the_bit(
    kind: str, form: str, bidirectional: bool, dtype: torch.dtype
) -> None:
    ours, theirs = pair(
        kind, "auto", dtype, num_layers=2, bidirectional=bidirectional,
        batch_first=form == "batch-first",
    )  # fmt: skip
    x, sources, n = batch(form, dtype)
    hx = initial_state(theirs, form, n)
    sources = (*sources, *tensors(hx))
    expected = results(lambda: theirs(x, hx), sources, theirs)
    results(lambda: ours(x, hx), sources, ours).assert_equal(expected, 0.0)


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_types_of_results_are_torchs(kind: str, backend: str) -> None:
    ours, theirs = pair(kind, backend)
    for form in FORMS[1:]:
        x, _, _ = batch(form)
        y, state = ours(x)
        expected, expected_state = theirs(x)
        assert type(y) is type(expected)
        assert type(state) is type(expected_state)
        if form == "packed":
            for ours_part, theirs_part in zip(y[1:], expected[1:], strict=True):
                torch.testing.assert_close(ours_part, theirs_part)


@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_equal_each_sequence_alone(kind: str) -> None:
    # Independent of torch's own handling of packed sequences.
    ours, _ = pair(kind, "reference", num_layers=2, bidirectional=True, batch_first=True)
    padded = random(len(LENGTHS), max(LENGTHS), D)
    packed = pack_padded_sequence(padded, list(LENGTHS), batch_first=True, enforce_sorted=False)
    y, final = ours(packed)
    y, lengths = pad_packed_sequence(y, batch_first=True)
    assert lengths.tolist() == list(LENGTHS)
    for i, length in enumerate(LENGTHS):
        alone, alone_final = ours(padded[i, :length])
        bound = rounding(2, T, 1, y.abs().max().item())
        torch.testing.assert_close(y[i, :length], alone, rtol=0, atol=bound)
        for whole, part in zip(tensors(final), tensors(alone_final), strict=True):
            torch.testing.assert_close(whole[:, i], part, rtol=0, atol=bound)


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_of_no_sequences(kind: str, backend: str) -> None:
    ours, theirs = pair(kind, backend, num_layers=2, bidirectional=True)
    x = torch.zeros(T, 0, D, dtype=torch.float64)
    for found, expected in zip(ours(x), theirs(x), strict=True):
        for a, b in zip(tensors(found), tensors(expected), strict=True):
            assert a.shape == b.shape


@pytest.mark.parametrize("kind", KINDS)
def test_input_in_any_memory_layout(kind: str) -> None:
    ours, theirs = pair(kind, "reference")
    for x in (
        random(D, T, B).permute(1, 2, 0),
        random(T, 1, D).expand(T, B, D),
        random(2 * T, B, D)[::2],
    ):
        expected = theirs(x.contiguous())[0]
        bound = rounding(1, T, B, expected.abs().max().item())
        torch.testing.assert_close(ours(x)[0], expected, rtol=0, atol=bound)


@pytest.mark.parametrize("backend", ["torch", "reference"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", KINDS)
def test_dropout_draws_what_torch_draws(kind: str, form: str, backend: str) -> None:
    ours, theirs = pair(
        kind, backend, num_layers=3, dropout=0.4, bidirectional=True,
        batch_first=form == "batch-first",
    )  # fmt: skip
    x, sources, n = batch(form)
    for training in (True, False):
        ours.train(training)
        theirs.train(training)
        torch.manual_seed(5)
        expected = results(lambda: theirs(x), sources, theirs)
        after = torch.rand(1)
        torch.manual_seed(5)
        found = results(lambda: ours(x), sources, ours)
        assert torch.equal(after, torch.rand(1)), "another number of random numbers was drawn"
        found.assert_equal(expected, rounding(3, T, n, expected.magnitude))


def test_dropout_of_everything() -> None:
    ours, theirs = pair("gru", "reference", num_layers=2, dropout=1.0)
    x = random(T, B, D)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_second_derivatives(kind: str) -> None:
    ours, theirs = pair(kind, "reference", num_layers=2, bidirectional=True)
    x = random(3, 2, D).requires_grad_()
    hx = initial_state(theirs, "time-major", 2)
    parameters = dict(ours.named_parameters())

    def call(x: torch.Tensor, *others: torch.Tensor) -> tuple[torch.Tensor, ...]:
        states, values = others[: len(tensors(hx))], others[len(tensors(hx)) :]
        state = states if isinstance(hx, tuple) else states[0]
        named = dict(zip(parameters, values, strict=True))
        y, final = torch.func.functional_call(ours, named, (x, state))
        return y, *tensors(final)

    arguments = (x, *tensors(hx), *parameters.values())
    assert torch.autograd.gradcheck(call, arguments, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, arguments, fast_mode=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_penalty_equals_torchs(kind: str) -> None:
    ours, theirs = pair(kind, "reference")
    x = random(T, B, D).requires_grad_()

    def penalty(module: torch.nn.Module) -> tuple[torch.Tensor, ...]:
        (d_x,) = torch.autograd.grad(module(x)[0].square().sum(), x, create_graph=True)
        return torch.autograd.grad(d_x.square().sum(), [x, *module.parameters()])

    expected = penalty(theirs)
    magnitude = max(g.abs().max().item() for g in expected)
    for a, b in zip(penalty(ours), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=rounding(2, T, B, magnitude))


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_computes_in_the_parameters_dtype(kind: str) -> None:
    ours, _ = pair(kind, "reference", torch.float32)
    x = random(T, B, D, dtype=torch.float32)
    plain, _ = ours(x)
    with torch.autocast("cpu", torch.bfloat16):
        y, _ = ours(x)
        from_half, state = ours(x.bfloat16())
        continued, _ = ours(x, state)
    assert torch.equal(y, plain)
    assert from_half.dtype == continued.dtype == torch.float32
    assert torch.equal(from_half, ours(x.bfloat16().float())[0])


@pytest.mark.parametrize("kind", KINDS)
def test_on_the_meta_device(kind: str) -> None:
    ours, theirs = pair(kind, "reference", device="meta", num_layers=2)
    y, state = ours(torch.empty(T, B, D, device="meta", dtype=torch.float64))
    assert y.shape == (T, B, theirs.proj_size or H)
    assert tensors(state)[-1].shape == (2, B, H)
