"""Checkpointed backpropagation: the same gradients, from a few kept states."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import unrolled as ur
from unrolled.backends.checkpointed import Checkpointed
from unrolled.cells import CELLS
from unrolled.recurrence import compile_step

SIZES = {"D": 3, "H": 5}


def drawn(name: str, n_steps: int) -> tuple[Tensor, list[Tensor], dict[str, Tensor]]:
    cell = CELLS[name]
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        values = torch.randn(*map(int, shape), generator=generator, dtype=torch.float64)
        return (0.3 * values).requires_grad_()

    states = [draw(2, n) for n in cell.state_sizes(SIZES)]
    parameters = {n: draw(*shape) for n, shape in cell.parameter_shapes(SIZES).items()}
    return draw(n_steps, 2, 3), states, parameters


@pytest.mark.parametrize("name", ["lstm", "gru_cho", "mingru"])
@pytest.mark.parametrize(
    ("n_steps", "checkpoint"), [(17, "sqrt"), (17, 5), (17, 1), (4, 9), (0, 3)]
)
def test_gradients_are_those_without(name: str, n_steps: int, checkpoint: int | str) -> None:
    x, states, parameters = drawn(name, n_steps)
    found: list[tuple[Tensor, ...]] = []
    for kept in (None, checkpoint):
        y, final = ur.recurrence(CELLS[name], x, states, parameters, checkpoint=kept)  # type: ignore[arg-type]
        loss = y.square().sum() + sum(s.sum() for s in final)
        found.append(torch.autograd.grad(loss, [x, *states, *parameters.values()]))
    # Only the order of a parameter's sum over steps differs: 2 n u Σ|terms| bounds it, and here
    # every one of the n = T·B terms is below 10 in magnitude.
    n_terms = n_steps * 2
    bound = 2 * n_terms * torch.finfo(torch.float64).eps * n_terms * 10
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=bound)


def test_only_states_are_kept() -> None:
    x, states, parameters = drawn("lstm", 100)
    cell = CELLS["lstm"]
    wrt = (cell.input, *cell.parameters)
    compiled = compile_step(cell, tuple(SIZES.items()), x.dtype, ("y",), wrt, "reference")
    kernel = Checkpointed(compiled.kernel, compiled.plan, 10)
    given = {x.data_ptr(), *(p.data_ptr() for p in parameters.values())}
    with torch.no_grad():
        kept = kernel.forward(x, states, parameters, keep=True).residuals
        all_kept = compiled.kernel.forward(x, states, parameters, keep=True).residuals

    def elements(values: dict[str, Tensor]) -> int:
        return sum(v.numel() for v in values.values() if v.data_ptr() not in given)

    assert elements(kept) == 10 * 2 * 2 * 5  # ten segments, two states, B = 2, H = 5
    assert elements(all_kept) > 10 * elements(kept)


def test_second_derivatives() -> None:
    x, states, parameters = drawn("gru", 5)
    names = list(parameters)

    def run(*tensors: Tensor) -> Tensor:
        given = dict(zip(names, tensors[2:], strict=True))
        return ur.recurrence(CELLS["gru"], tensors[0], tensors[1:2], given, checkpoint=2)[0]

    inputs = (x, *states, *parameters.values())
    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("wrong", [0, -1, True, "root", 2.5])
def test_a_wrong_distance_is_refused(wrong: object) -> None:
    x, states, parameters = drawn("gru", 5)
    with pytest.raises(ValueError, match="expected 'sqrt' or the number of steps"):
        ur.recurrence(CELLS["gru"], x, states, parameters, checkpoint=wrong)  # type: ignore[arg-type]
