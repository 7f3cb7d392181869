"""Which kernels a drop-in runs on under ``backend="auto"``, and that they give torch's results."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn.utils.rnn import pack_sequence

import unrolled.nn as un
from layer_samples import rounding
from unrolled.differentiable import Recurrence
from unrolled.nn import choice

STEPS = choice.LEAST_STEPS
PAIRS = [(nn.RNN, un.RNN), (nn.GRU, un.GRU), (nn.LSTM, un.LSTM)]


def ran_ours(module: nn.Module, x: Tensor, monkeypatch: pytest.MonkeyPatch) -> bool:
    calls: list[None] = []
    original = Recurrence.apply

    def spy(*args: object) -> object:
        calls.append(None)
        return original(*args)

    monkeypatch.setattr(Recurrence, "apply", spy)
    module(x)
    return bool(calls)


@pytest.mark.parametrize(("stock", "ours"), PAIRS)
def test_long_sequences_run_ours(stock: type, ours: type, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ours(3, 5)
    assert ran_ours(module, torch.randn(STEPS, 2, 3), monkeypatch)
    assert ran_ours(module, torch.randn(STEPS, 3), monkeypatch)
    assert ran_ours(ours(3, 5, batch_first=True), torch.randn(2, STEPS, 3), monkeypatch)


@pytest.mark.parametrize(("stock", "ours"), PAIRS)
def test_short_sequences_run_torchs(
    stock: type, ours: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not ran_ours(ours(3, 5), torch.randn(STEPS - 1, 20, 3), monkeypatch)
    assert not ran_ours(ours(3, 5, backend="torch"), torch.randn(50, 2, 3), monkeypatch)
    packed = pack_sequence([torch.randn(STEPS - 1, 3), torch.randn(2, 3)])
    assert not ran_ours(ours(3, 5), packed, monkeypatch)  # type: ignore[arg-type]
    packed = pack_sequence([torch.randn(20, 3), torch.randn(9, 3)])
    assert ran_ours(ours(3, 5), packed, monkeypatch)  # type: ignore[arg-type]


@pytest.mark.parametrize(("stock", "ours"), PAIRS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_results_are_torchs(stock: type, ours: type, bidirectional: bool) -> None:
    theirs = stock(3, 4, 2, bidirectional=bidirectional, dtype=torch.float64)
    mine = ours(3, 4, 2, bidirectional=bidirectional, dtype=torch.float64)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(2 * STEPS, 3, 3, dtype=torch.float64, requires_grad=True)
    found: list[list[Tensor]] = []
    for module in (theirs, mine):
        y, state = module(x)
        states = state if isinstance(state, tuple) else (state,)
        loss = y.square().sum() + sum(s.sum() for s in states)
        gradients = torch.autograd.grad(loss, [x, *module.parameters()])
        found.append([y, *states, *gradients])
    for a, b in zip(*found, strict=True):
        bound = rounding(2, 2 * STEPS, 3, float(a.detach().abs().max()))
        torch.testing.assert_close(b, a, rtol=0, atol=bound)


# Torch's own decompositions for forward mode are made by torch.jit.script, which is deprecated.
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_forward_mode_derivatives() -> None:
    theirs, mine = nn.GRU(3, 5), un.GRU(3, 5)
    mine.load_state_dict(theirs.state_dict())
    x = torch.randn(STEPS, 2, 3)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        tangents = [forward_ad.unpack_dual(m(dual)[0]).tangent for m in (theirs, mine)]
    bound = rounding(1, STEPS, 2, 1.0) * 2.0**29
    torch.testing.assert_close(tangents[1], tangents[0], rtol=0, atol=bound)


def test_what_torch_transforms_and_records_runs_as_equations() -> None:
    """Torch's own kernels stop ``vmap`` and break a compiled graph."""
    module = un.LSTM(3, 5)
    x = torch.randn(4, STEPS - 2, 2, 3)
    found = torch.func.vmap(lambda v: module(v)[0])(x)
    for a, b in zip(found, x, strict=True):
        torch.testing.assert_close(a, module(b)[0], rtol=0, atol=rounding(1, 8, 2, 1) * 2.0**29)
    # Dynamo takes no subclass of torch.nn.LSTM without it.
    with torch._dynamo.config.patch(allow_rnn=True):  # pyright: ignore
        compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
        for steps in (STEPS - 2, STEPS + 5):
            v = torch.randn(steps, 2, 3)
            bound = rounding(1, steps, 2, 1) * 2.0**29
            torch.testing.assert_close(compiled(v)[0], module(v)[0], rtol=0, atol=bound)


def test_second_derivatives() -> None:
    module = un.GRU(2, 3, dtype=torch.float64)
    x = torch.randn(STEPS, 1, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda v: module(v)[0], (x,))


def test_without_a_compiler_torchs_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "compiler", lambda: None)
    module = un.GRU(3, 5)
    assert not ran_ours(module, torch.randn(STEPS, 2, 3), monkeypatch)
    assert module.explain().startswith("all layers: backend 'torch', the fastest there")


@pytest.mark.parametrize(("stock", "ours"), PAIRS)
def test_an_output_may_be_written_to_without_gradients(stock: type, ours: type) -> None:
    module = ours(3, 5)
    with torch.no_grad():
        y, _ = module(torch.randn(STEPS, 2, 3))
        expected = y * 2
        assert torch.equal(y.mul_(2), expected)


def test_writing_to_an_output_that_the_gradient_needs_is_noticed() -> None:
    y, _ = un.LSTM(3, 5)(torch.randn(STEPS, 2, 3))
    with pytest.raises(RuntimeError, match="modified"):
        y.mul_(2).sum().backward()
