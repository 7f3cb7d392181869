"""Forward-mode AD and torch.func's transforms of a recurrence, whatever backend is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

import unrolled
from unrolled import cells
from unrolled.backends.cpu.build import compiler
from unrolled.cell import Cell

STEPS, BATCH, D, H = 4, 3, 2, 5
CELLS = (cells.rnn, cells.gru, cells.lstm_peephole_gers, cells.lstm_layer_norm)

# Torch's own decompositions for forward mode are made by torch.jit.script, which is deprecated.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    pytest.mark.skipif(compiler() is None, reason="needs a C compiler"),
]

each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
each_backend = pytest.mark.parametrize("backend", ["auto", "cpu", "reference"])


class _LooksOn(TorchDispatchMode):
    """Sees every operation, and lets it run."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def run_of(cell: Cell, backend: str) -> tuple[Callable[..., Tensor], Tensor, dict[str, Tensor]]:
    """``run(x, params)`` from states of zeros, gives y and the final states side by side."""
    source = torch.Generator().manual_seed(0)
    sizes = cell.resolve_sizes(D, H)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, dtype=torch.float64, generator=source)

    params = {name: draw(*shape) for name, shape in cell.parameter_shapes(sizes).items()}

    def run(x: Tensor, params: dict[str, Tensor]) -> Tensor:
        states = [x.new_zeros(x.shape[1], size) for size in cell.state_sizes(sizes)]
        y, final = unrolled.recurrence(cell, x, states, params, backend)
        return torch.cat([y.sum(0), *final], dim=1)

    return run, draw(STEPS, BATCH, D), params


@each_cell
@each_backend
def test_forward_mode_is_the_derivative(cell: Cell, backend: str) -> None:
    run, x, params = run_of(cell, backend)
    names = tuple(params)

    def positional(x: Tensor, *values: Tensor) -> Tensor:
        return run(x, dict(zip(names, values, strict=True)))

    inputs = [t.requires_grad_() for t in (x, *params.values())]
    assert torch.autograd.gradcheck(
        positional, inputs, check_forward_ad=True, check_batched_grad=False
    )


@each_cell
def test_no_grad_keeps_tangents(cell: Cell) -> None:
    run, x, params = run_of(cell, "cpu")
    before = run(x, params)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(x, torch.ones_like(x))
        expected = forward_ad.unpack_dual(run(dual, params)).tangent
        with torch.no_grad():
            found = forward_ad.unpack_dual(run(dual, params)).tangent
    assert expected is not None
    assert found is not None
    assert torch.equal(found, expected)
    # Once the level is left, kernels serve again.
    assert torch.equal(run(x, params), before)


@each_cell
def test_tangents_of_cotangents_and_of_operators(cell: Cell) -> None:
    """A graph made by kernels outside the level, and the operator that torch.export keeps."""
    results: list[list[Tensor | None]] = []
    for backend in ("cpu", "reference"):
        run, x, params = run_of(cell, backend)
        y = run(x.requires_grad_(), params)
        with forward_ad.dual_level():
            d = forward_ad.make_dual(torch.ones_like(y), y.detach())
            (d_x,) = torch.autograd.grad(y, x, d)
            found = [forward_ad.unpack_dual(d_x).tangent]
            dual = forward_ad.make_dual(x.detach(), torch.ones_like(x))
            with _LooksOn():
                found.append(forward_ad.unpack_dual(run(dual, params)).tangent)
        results.append(found)
    for found, expected in zip(*results, strict=True):
        assert found is not None
        torch.testing.assert_close(found, expected)


@each_cell
@each_backend
def test_gradients_of_each_example(cell: Cell, backend: str) -> None:
    """``vmap`` of ``grad`` gives what a loop over examples gives; the two sum in another order."""
    run, x, params = run_of(cell, backend)

    def loss(params: dict[str, Tensor], example: Tensor) -> Tensor:
        return run(example.unsqueeze(1), params).square().sum()

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 1))(params, x)
    for b in range(BATCH):
        leaves = {n: p.clone().requires_grad_() for n, p in params.items()}
        loss(leaves, x[:, b]).backward()
        for name, leaf in leaves.items():
            torch.testing.assert_close(each[name][b], leaf.grad)


@each_cell
def test_forward_over_reverse_is_double_backward(cell: Cell) -> None:
    run, x, params = run_of(cell, "cpu")

    def loss(x: Tensor) -> Tensor:
        return run(x, params).square().sum()

    vector = torch.ones_like(x)
    found = torch.func.jvp(torch.func.grad(loss), (x,), (vector,))[1]
    x = x.clone().requires_grad_()
    (d,) = torch.autograd.grad(loss(x), x, create_graph=True)
    (expected,) = torch.autograd.grad(d, x, vector)
    torch.testing.assert_close(found, expected)
