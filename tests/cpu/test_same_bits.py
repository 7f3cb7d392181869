"""The same input gives the same bits: again, on other numbers of threads, in other company."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import unrolled as ur
from unrolled import cells

T, D, H = 12, 37, 70
BATCHES = (1, 2, 3, 9, 17, 33)
LENGTHS = [12, 5, 0, 7, 12, 3, 9, 1, 12]


def layer(backend: str, cell: ur.Cell = cells.gru) -> ur.Recurrent:
    torch.manual_seed(0)
    return ur.Recurrent(cell, D, H, 2, bidirectional=True, backend=backend)


def on(threads: int, module: ur.Recurrent, x: Tensor) -> list[Tensor]:
    """Outputs, states, and the gradients of the input and the parameters."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y, state = module(x)
        leaves = [x, *module.parameters()]
        return [y, *state, *torch.autograd.grad(y.square().sum(), leaves)]
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("backend", ["cpu", "cpu_invariant"])
@pytest.mark.parametrize("batch", BATCHES)
def test_again(backend: str, batch: int) -> None:
    module = layer(backend)
    x = torch.randn(T, batch, D, requires_grad=True)
    for threads in (1, 2):
        first = on(threads, module, x)
        for _ in range(3):
            for a, b in zip(on(threads, module, x), first, strict=True):
                assert torch.equal(a, b)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(
    "cell", [cells.gru, cells.lstm, cells.lstm_layer_norm], ids=lambda c: c.name
)
def test_invariant_on_any_number_of_threads(cell: ur.Cell, batch: int) -> None:
    """All but sums over steps and examples of what the loop computes: gradients of vectors."""
    module = layer("cpu_invariant", cell)
    x = torch.randn(T, batch, D, requires_grad=True)
    first = on(1, module, x)
    for threads in (2, 3):
        for a, b in zip(on(threads, module, x), first, strict=True):
            assert torch.equal(a, b) or a.ndim == 1


@pytest.mark.parametrize(
    "cell", [cells.gru, cells.lstm, cells.lstm_layer_norm], ids=lambda c: c.name
)
def test_invariant_in_any_company(cell: ur.Cell) -> None:
    module = layer("cpu_invariant", cell)
    x = torch.randn(T, len(LENGTHS), D)
    with torch.no_grad():
        whole, _ = module(x)
        uneven, _ = module(x, lengths=LENGTHS)
        for b, length in enumerate(LENGTHS):
            assert torch.equal(module(x[:, b : b + 1])[0], whole[:, b : b + 1])
            if length:
                alone = module(x[:length, b : b + 1])[0]
                assert torch.equal(alone, uneven[:length, b : b + 1])
        for size in (2, 5):
            assert torch.equal(module(x[:, :size])[0], whole[:, :size])


def test_the_default_is_not_invariant_and_says_nothing_of_it() -> None:
    """One example alone is summed up in another order, which is faster."""
    x = torch.randn(T, 9, D)
    with torch.no_grad():
        module = layer("cpu")
        assert not torch.equal(module(x[:, :1])[0], module(x)[0][:, :1])


def test_a_stream_of_one_has_the_bits_of_the_sequence() -> None:
    torch.manual_seed(0)
    module = ur.Recurrent(cells.lstm, D, H, 2, backend="cpu_invariant")
    x = torch.randn(T, 5, D)
    with torch.no_grad():
        y, _ = module(x)
    stream = module.stream(1)
    for t in range(T):
        assert torch.equal(stream.step(x[t, 2:3]), y[t, 2:3])
