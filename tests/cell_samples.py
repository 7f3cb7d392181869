"""Random parameters, inputs and states for a cell, in float64, and the bound on its rounding."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unrolled import naive
from unrolled.cell import Cell

D, H = 3, 5
OTHERS = {"P": 2, "O": 4}
BATCH = 16

Params = dict[str, Tensor]


def random(*shape: int, seed: int, scale: float = 1.0) -> Tensor:
    """Uniform in ±scale."""
    uniform = torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return scale * (2 * uniform - 1)


def sizes_of(cell: Cell) -> dict[str, int]:
    return cell.resolve_sizes(D, H, **OTHERS)


def parameters(cell: Cell) -> Params:
    shapes = cell.parameter_shapes(sizes_of(cell))
    return {
        name: random(*shape, seed=number, scale=H**-0.5)
        for number, (name, shape) in enumerate(shapes.items())
    }


def states(cell: Cell, seed: int = 0, batch: int = BATCH) -> tuple[Tensor, ...]:
    """States in ±1.5, as far out as those of an LSTM's memory go."""
    lengths = cell.state_sizes(sizes_of(cell))
    return tuple(
        random(batch, n, seed=77 + 10 * seed + i, scale=1.5) for i, n in enumerate(lengths)
    )


def inputs(steps: int = 1, batch: int = BATCH) -> Tensor:
    return random(steps, batch, D, seed=5)


def step(
    cell: Cell, params: Mapping[str, Tensor], given: Sequence[Tensor], x: Tensor | None = None
) -> tuple[Tensor, ...]:
    """Output and new states of one step from ``given`` states, on the same input by default."""
    y, new = naive.recurrence(cell, inputs() if x is None else x, given, params)
    return y[0], *new


def magnitude(params: Mapping[str, Tensor], *tensors: Tensor) -> float:
    """No pre-activation that these parameters make of these tensors is larger than this.

    It is the sum of all parameters' largest row (or column, where rows are multiplied from the
    left), each times the largest entry of the tensors.
    """
    largest = max(1.0, *(t.abs().max().item() for t in tensors))
    return largest * sum(
        max(p.abs().sum(axis).max().item() for axis in range(p.ndim))
        if p.ndim > 1
        else p.abs().max().item()
        for p in params.values()
    )


def rounding(params: Mapping[str, Tensor], *tensors: Tensor) -> float:
    """How far two ways of writing one step may differ, from the operation count.

    A pre-activation sums n = D + H + 8 terms at most, in either order, so it is wrong by at most
    n·ε·m, where m is its magnitude.  It passes through functions whose slope is at most 1, then
    through at most one more product of a matrix (reset before it, output, projection), which
    scales the error by m again and adds its own; the new state sums at most 3 products whose other
    factor is within the largest state.  Twice that, because both ways round.
    """
    m = magnitude(params, *tensors)
    largest = max(1.0, *(t.abs().max().item() for t in tensors))
    bound = 2 * 3 * largest * (D + H + 8) * torch.finfo(torch.float64).eps * m * (1 + m)
    assert bound < 1e-9, "the samples are too large to tell a wrong formula from rounding"
    return bound


def assert_same_step(
    cell: Cell,
    params: Mapping[str, Tensor],
    other: Cell,
    other_params: Mapping[str, Tensor],
    given: Sequence[Tensor],
    other_given: Sequence[Tensor] | None = None,
) -> None:
    """One step of each gives the same output and states, from random states, but for rounding."""
    ours = step(cell, params, given)
    theirs = step(other, other_params, given if other_given is None else other_given)
    bound = max(rounding(params, *given), rounding(other_params, *given))
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=bound)
