"""``State``: a tuple of tensors that can be treated as one."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest
import torch

import unrolled as ur
from unrolled import cells


def a_state() -> tuple[ur.Recurrent, ur.State]:
    layer = ur.Recurrent(cells.lstm, 3, 4, 2)
    _, state = layer(torch.randn(5, 6, 3))
    assert isinstance(state, ur.State)
    return layer, state


def test_it_is_the_tuple_that_torch_gives() -> None:
    _, state = a_state()
    h, c = state
    assert isinstance(state, tuple)
    assert h.shape == c.shape == (2, 6, 4)
    assert repr(state) == "State([2, 6, 4], [2, 6, 4])"


def test_each_change_is_one_of_every_tensor() -> None:
    _, state = a_state()
    assert all(s.requires_grad for s in state)
    assert not any(s.requires_grad for s in state.detach())
    assert all(s.dtype is torch.float64 for s in state.to(dtype=torch.float64))
    assert all(s.device.type == "meta" for s in state.to("meta"))
    assert state.clone()[0].data_ptr() != state[0].data_ptr()


def test_select_reorders_as_beam_search_does() -> None:
    layer, state = a_state()
    chosen = [4, 4, 0]
    for examples in (chosen, torch.tensor(chosen)):
        again = state.select(examples)
        for a, b in zip(again, state, strict=True):
            assert torch.equal(a, b[:, chosen])
    x = torch.randn(2, 6, 3)
    y, _ = layer(x[:, chosen], state.select(chosen))
    torch.testing.assert_close(y, layer(x, state)[0][:, chosen])
    assert state.select([])[0].shape == (2, 0, 4)
    mask = torch.tensor([True, False, False, True, False, False])
    assert torch.equal(state.select(mask)[1], state[1][:, [0, 3]])
    with pytest.raises(IndexError, match=r"examples are \[6\]: expected numbers from 0 to 5"):
        state.select([6])
    _, single = layer(x[:, 0])
    with pytest.raises(IndexError, match="a single sequence has no examples to choose from"):
        single.select([0])


def test_it_is_saved_and_copied(tmp_path: Path) -> None:
    _, state = a_state()
    state = state.detach()
    torch.save(state, tmp_path / "state.pt")
    for again in (
        torch.load(tmp_path / "state.pt"),
        pickle.loads(pickle.dumps(state)),
        copy.deepcopy(state),
    ):
        assert type(again) is ur.State
        assert all(torch.equal(a, b) for a, b in zip(again, state, strict=True))


def test_torch_func_passes_through_it() -> None:
    layer, _ = a_state()

    def final(x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return layer(x)[1]

    x = torch.randn(7, 5, 2, 3)
    found = torch.func.vmap(final)(x)
    assert type(found) is ur.State
    torch.testing.assert_close(found[0][3], layer(x[3])[1][0])


def test_windows_of_a_stream_have_the_exact_gradient_of_the_window() -> None:
    """Truncated backpropagation: what reached the window is a constant to it."""
    layer, _ = a_state()
    x = torch.randn(9, 6, 3, dtype=torch.float64)
    layer.double()
    _, state = layer(x[:4])
    y, _ = layer(x[4:], state.detach())
    found = torch.autograd.grad(y.square().sum(), list(layer.parameters()))
    held = ur.State(s.detach().clone() for s in state)
    expected = torch.autograd.grad(layer(x[4:], held)[0].square().sum(), list(layer.parameters()))
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)
