"""Calls of the CPU backend as users make them: any strides, lengths and parts of gradients."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

import unrolled
from oracle import agreement
from tricky_cells import TRICKY
from unrolled import cell, param
from unrolled.cell import Cell
from unrolled.cells import CELLS

T, B, D = 4, 3, 6


@cell
def streaming(x, h, *, W=param("H", "D"), b=param("H")):
    """Reads its input both in a product and element by element."""
    return torch.tanh(b * x + W @ x + h)


def params(cell: Cell, dtype: torch.dtype = torch.float64, size: int = D) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(0)
    shapes = cell.parameter_shapes(cell.resolve_sizes(size, size))
    return {
        n: torch.randn([int(k) for k in s], generator=source, dtype=dtype) / size**0.5
        for n, s in shapes.items()
    }


def run(
    backend: str, cell: Cell, x: Tensor, states: tuple[Tensor, ...], parameters: dict[str, Tensor]
) -> list[Tensor]:
    """Output, final states, and the gradients of what wants them."""
    leaves = [t for t in (x, *states, *parameters.values()) if t.requires_grad]
    y, final = unrolled.recurrence(cell, x, states, parameters, backend)
    loss = (y * y).sum() + sum((s * (k + 1)).sum() for k, s in enumerate(final))
    gradients = torch.autograd.grad(loss, leaves) if leaves else ()
    return [y.detach(), *(s.detach() for s in final), *gradients]


def assert_equals_the_reference(
    cell: Cell, x: Tensor, states: tuple[Tensor, ...], parameters: dict[str, Tensor]
) -> None:
    found = run("cpu", cell, x, states, parameters)
    expected = run("reference", cell, x, states, parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11, equal_nan=True)


def _numbers(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


SEQUENCES: dict[str, Callable[[int, int], Tensor]] = {
    "batch first": lambda t, b: _numbers(b, t, D).transpose(0, 1),
    "features first": lambda t, b: _numbers(D, t, b).permute(1, 2, 0),
    "every other example": lambda t, b: _numbers(t, 2 * b, D)[:, ::2],
    "every other step": lambda t, b: _numbers(2 * t, b, D)[::2],
    "every other feature": lambda t, b: _numbers(t, b, 2 * D)[..., ::2],
    "part of the features": lambda t, b: _numbers(t, b, 2 * D)[..., D:],
    "one number": lambda t, b: _numbers(1, 1, 1).expand(t, b, D),
    "one step": lambda t, b: _numbers(1, b, D).expand(t, b, D),
    "one example": lambda t, b: _numbers(t, 1, D).expand(t, b, D),
    "overlapping": lambda t, b: _numbers(t + b + D).as_strided((t, b, D), (1, 1, 1)),
    "far apart": lambda t, b: _numbers(t * 100 + b * 1000).as_strided((t, b, D), (100, 997, 1)),
    "odd strides of a single": lambda t, b: _numbers(t * b * D).as_strided(
        (t, b, D), (D * b if t > 1 else 7777, D if b > 1 else 5555, 1)
    ),
}
STATES: dict[str, Callable[[int], Tensor]] = {
    "dense": lambda b: _numbers(b, D),
    "transposed": lambda b: _numbers(D, b).t(),
    "expanded": lambda b: _numbers(1, D).expand(b, D),
    "one number": lambda b: _numbers(1, 1).expand(b, D),
    "part": lambda b: _numbers(b, 3 * D)[:, D : 2 * D],
}


@pytest.mark.parametrize(("steps", "batch"), list(product((1, T), (1, B))))
@pytest.mark.parametrize("sequence", SEQUENCES)
def test_inputs_of_any_strides(sequence: str, steps: int, batch: int) -> None:
    x = SEQUENCES[sequence](steps, batch)
    assert x.shape == (steps, batch, D)
    for h in STATES.values():
        assert_equals_the_reference(streaming, x, (h(batch),), params(streaming))


def test_parameters_of_any_strides() -> None:
    given = params(streaming)
    matrices = [
        given["W"].t().contiguous().t(), _numbers(D, 2 * D)[:, ::2], _numbers(2 * D, D)[::2],
        _numbers(1, D).expand(D, D), _numbers(D, 1).expand(D, D), _numbers(1, 1).expand(D, D),
    ]  # fmt: skip
    vectors = [_numbers(2 * D)[::2], _numbers(1).expand(D), _numbers(D, 3)[:, 1]]
    for W, b in product(matrices, vectors):
        x = _numbers(T, B, D).requires_grad_()
        assert_equals_the_reference(streaming, x, (_numbers(B, D),), {"W": W, "b": b})


@pytest.mark.parametrize("shared_by", ["outputs", "states"])
def test_expanded_and_absent_cotangents(shared_by: str) -> None:
    """Of a sum over all, or of a part of the results."""
    cell, given = CELLS["lstm_peephole"], params(CELLS["lstm_peephole"])
    found: list[tuple[Tensor, ...]] = []
    for backend in ("cpu", "reference"):
        x = _numbers(T, B, D).requires_grad_()
        states = tuple(_numbers(B, D).requires_grad_() for _ in range(2))
        y, final = unrolled.recurrence(cell, x, states, given, backend)
        loss = y[1:, 1, 2:].sum() if shared_by == "outputs" else final[1].sum()
        found.append(torch.autograd.grad(loss, [x, *states]))
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["gru_full", "many_outputs", "becomes_a_parameter", "delayed"])
def test_gradients_of_any_part(name: str) -> None:
    cell = CELLS.get(name) or TRICKY[name]
    others = {"P": 7} if name == "many_outputs" else {}
    p = agreement.problem(cell, cell.resolve_sizes(5, 5, **others), 3, 2)
    for wanted in [[n] for n in p.leaves] + [[*p.leaves][::2], []]:
        leaves = {n: t.clone().requires_grad_(n in wanted) for n, t in p.leaves.items()}
        states = tuple(leaves[s.name] for s in cell.states)
        assert_equals_the_reference(
            cell, leaves[cell.input], states, {n: leaves[n] for n in p.parameters}
        )


@pytest.mark.parametrize(("steps", "batch"), [(0, 3), (3, 0), (0, 0)])
@pytest.mark.parametrize("name", ["gru", "lstm_layer_norm", "many_outputs", "becomes_a_parameter"])
def test_no_steps_or_no_examples(name: str, steps: int, batch: int) -> None:
    cell = CELLS.get(name) or TRICKY[name]
    others = {"P": 7} if name == "many_outputs" else {}
    p = agreement.problem(cell, cell.resolve_sizes(5, 5, **others), steps, batch)
    leaves = {n: t.clone().requires_grad_() for n, t in p.leaves.items()}
    states = tuple(leaves[s.name] for s in cell.states)
    assert_equals_the_reference(
        cell, leaves[cell.input], states, {n: leaves[n] for n in p.parameters}
    )


def test_a_hundred_thousand_steps() -> None:
    """As a whole, and in ten pieces that hand their states on."""
    cell, steps = CELLS["gru"], 100_000
    given = {n: t.requires_grad_() for n, t in params(cell).items()}
    x, h = _numbers(steps, 1, D).requires_grad_(), _numbers(1, D).requires_grad_()
    leaves = [x, h, *given.values()]
    y, (final,) = unrolled.recurrence(cell, x, (h,), given, "cpu")
    whole = torch.autograd.grad(y.square().mean() + final.sum(), leaves)
    pieces: list[Tensor] = []
    state = h
    for part in x.split(steps // 10):
        y_part, (state,) = unrolled.recurrence(cell, part, (state,), given, "cpu")
        pieces.append(y_part)
    parted = torch.autograd.grad(torch.cat(pieces).square().mean() + state.sum(), leaves)
    torch.testing.assert_close(torch.cat(pieces), y, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, final, rtol=1e-12, atol=1e-12)
    for a, b in zip(parted, whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    with torch.no_grad():
        tail, _ = unrolled.recurrence(cell, x[-50:], (y[-51],), given, "reference")
    torch.testing.assert_close(tail, y[-50:].detach(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ["gru", "lstm", "rnn", "lstm_layer_norm", "mgu"])
def test_nan_stays_where_it_is_and_goes_where_it_must(name: str, dtype: torch.dtype) -> None:
    """A NaN in an example's input reaches its own later outputs, and nothing else."""
    cell, steps, batch, at, example = CELLS[name], 6, 19, 2, 7
    given = params(cell, dtype)
    x = _numbers(steps, batch, D).to(dtype)
    states = tuple(torch.zeros(batch, D, dtype=dtype) for _ in cell.states)
    clean, _ = unrolled.recurrence(cell, x, states, given, "cpu")
    x[at, example, 3] = float("nan")
    y, final = unrolled.recurrence(cell, x, states, given, "cpu")
    touched = torch.zeros(steps, batch, dtype=torch.bool)
    touched[at:, example] = True
    assert torch.equal(y.isnan(), touched[..., None].expand_as(y))
    assert torch.equal(y[~touched], clean[~touched])
    assert all(torch.equal(s.isnan().all(1), touched[-1]) for s in final)


@pytest.mark.parametrize("where", ["state", "parameter", "cotangent"])
def test_nan_is_never_lost(where: str) -> None:
    cell = CELLS["gru"]
    given = {n: t.requires_grad_() for n, t in params(cell).items()}
    x, h = _numbers(T, B, D).requires_grad_(), _numbers(B, D).requires_grad_()
    with torch.no_grad():
        if where == "state":
            h.fill_(float("nan"))
        if where == "parameter":
            next(iter(given.values())).fill_(float("nan"))
    y, _ = unrolled.recurrence(cell, x, (h,), given, "cpu")
    assert y.isnan().all() == (where != "cotangent")
    d = torch.full_like(y, float("nan") if where == "cotangent" else 1.0)
    for gradient in torch.autograd.grad(y, [x, h, *given.values()], d):
        assert gradient.isnan().all()


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e300, -1e300, 1e-310])
def test_extreme_numbers_go_as_in_the_reference(value: float) -> None:
    for name in ("gru", "lstm", "mingru"):
        cell = CELLS[name]
        x = _numbers(T, B, D)
        x[1, 0] = value
        x[2, 1, 3] = value
        states = tuple(_numbers(B, D) for _ in cell.states)
        assert_equals_the_reference(cell, x, states, params(cell))
