"""A cell's noise: drawn by torch's generator of the device, and checked to have a mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unrolled.cell import Cell
from unrolled.errors import CellError
from unrolled.specs import NoiseSpec
from unrolled.steps import Steps


def draw(
    noise: Sequence[tuple[NoiseSpec, int]], n_sequences: int, x: Tensor, steps: Steps
) -> dict[str, Tensor]:
    """The noise with these lengths for ``x`` [T, B, D], or packed [1, N, D], in the same form."""
    return {
        spec.name: _over_steps(_drawn((n_sequences, size), spec.p, x), x, steps)
        if spec.each == "sequence"
        else _drawn((*x.shape[:2], size), spec.p, x)
        for spec, size in noise
    }


def check_mean(cell: Cell, sizes: Mapping[str, int], dtype: torch.dtype) -> None:
    """:class:`CellError` where the step does not run with one of its noises at the mean.

    It is the number that evaluation computes with, which only elementwise arithmetic takes.
    """
    for name, spec in cell.noise.items():
        try:
            cell.bind(**{name: spec.p}).graph(sizes, dtype)
        except (CellError, AttributeError, TypeError, ValueError, IndexError) as error:
            problem = error.problem if isinstance(error, CellError) else str(error)
            raise CellError(
                f"cell {cell.name}: in evaluation, where the noise {name} is the number {spec.p}, "
                f"the step does not run: {problem.removeprefix(f'cell {cell.name}: ')}",
                f"use noise elementwise alone, as in {name} * {cell.states[0].name}",
                error.location if isinstance(error, CellError) else cell.location,
            ) from error


def _over_steps(mask: Tensor, x: Tensor, steps: Steps) -> Tensor:
    """What was drawn for each sequence, [B, size], at each of its steps."""
    if steps.batch_sizes is None:
        return mask.expand(*x.shape[:2], mask.shape[1])
    sizes = torch.tensor(steps.batch_sizes)
    first = sizes.cumsum(0) - sizes
    examples = torch.arange(int(sizes.sum())) - first.repeat_interleave(sizes)
    return mask.index_select(0, examples.to(mask.device)).unsqueeze(0)


def _drawn(shape: tuple[int, ...], p: float, like: Tensor) -> Tensor:
    # Not in place, which vmap could not draw anew for each of its entries.
    return torch.bernoulli(torch.empty(shape, dtype=like.dtype, device=like.device), p)
