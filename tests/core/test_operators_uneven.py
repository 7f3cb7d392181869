"""The operator for uneven sequences: what torch is told of it, and programs that call it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import unrolled as ur
from unrolled import cells, operators
from unrolled.cell import Cell

T, B, D, H = 5, 4, 3, 6
LENGTHS = torch.tensor([3, 5, 0, 2])
# opcheck looks into storages in a way that torch deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:TypedStorage is deprecated")


def arguments(cell: Cell, lengths: bool, resets: bool, opposite: bool) -> tuple[Any, ...]:
    source = torch.Generator().manual_seed(0)

    def tensor(*shape: int) -> Tensor:
        return torch.randn([int(n) for n in shape], generator=source).requires_grad_()

    sizes = cell.resolve_sizes(D, H)
    step = operators.step_text(cell.graph(sizes, torch.float32).giving(("y", "c")))
    states = [tensor(B, n) for n in cell.state_sizes(sizes)]
    fresh = [tensor(B, n) for n in cell.state_sizes(sizes)] if resets else []
    parameters = [tensor(*shape) for shape in cell.parameter_shapes(sizes).values()]
    borders = torch.rand(T, B, generator=source) < 0.4 if resets else None
    its = LENGTHS if lengths else None
    return step, "cpu", opposite, its, borders, tensor(T, B, D), states, fresh, parameters


@pytest.mark.parametrize("opposite", [False, True])
@pytest.mark.parametrize(("lengths", "resets"), [(True, True), (True, False), (False, True)])
def test_torch_finds_nothing_wrong(lengths: bool, resets: bool, opposite: bool) -> None:
    """Schema, fake results, autograd and ahead-of-time compilation, as torch checks operators."""
    torch.library.opcheck(
        torch.ops.unrolled.recurrence_uneven, arguments(cells.lstm, lengths, resets, opposite)
    )


def test_it_equals_the_call_at_once() -> None:
    for opposite in (False, True):
        step, backend, _, its, borders, x, states, fresh, parameters = arguments(
            cells.lstm, True, True, opposite
        )
        named = dict(zip(cells.lstm.parameters, parameters, strict=True))
        (y, c), final = torch.ops.unrolled.recurrence_uneven(
            step, backend, opposite, its, borders, x, states, fresh, parameters
        )
        expected, expected_final = ur.recurrence(
            cells.lstm, x, states, named, lengths=its, resets=borders, reset_to=fresh,
            reverse=opposite,
        )  # fmt: skip
        assert torch.equal(y, expected)
        assert c.shape == y.shape
        leaves = [x, *states, *fresh, *parameters]
        found = torch.autograd.grad([y, *final], leaves, [y.detach(), *map(torch.ones_like, final)])
        plain = torch.autograd.grad(
            [expected, *expected_final], leaves, [y.detach(), *map(torch.ones_like, final)]
        )
        for a, b in zip(found, plain, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    step, backend, opposite, its, borders, x, states, fresh, parameters = arguments(
        cells.lstm, True, True, False
    )
    run = torch.ops.unrolled.recurrence_uneven
    with pytest.raises(ValueError, match=r"lengths must be \[B\] = \[4\], one for each example"):
        run(step, backend, opposite, its[:2], borders, x, states, fresh, parameters)
    with pytest.raises(ValueError, match=r"resets must be \[T, B\] = \[5, 4\], got \[4, 4\]"):
        run(step, backend, opposite, its, borders[1:], x, states, fresh, parameters)
    with pytest.raises(ValueError, match="expected 2 states that resets put in"):
        run(step, backend, opposite, its, borders, x, states, fresh[:1], parameters)
    with pytest.raises(ValueError, match="parameter W_ih must be"):
        run(step, backend, opposite, its, borders, x, states, fresh, parameters[::-1])
