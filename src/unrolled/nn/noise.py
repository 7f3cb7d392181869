"""A cell's noise, drawn by torch's generator of the device: once a sequence, or at each step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

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


def _over_steps(mask: Tensor, x: Tensor, steps: Steps) -> Tensor:
    """What was drawn for each sequence, [B, size], at each of its steps."""
    if steps.batch_sizes is None:
        return mask.expand(*x.shape[:2], mask.shape[1])
    sizes = torch.tensor(steps.batch_sizes)
    first = sizes.cumsum(0) - sizes
    examples = torch.arange(int(sizes.sum())) - first.repeat_interleave(sizes)
    return mask.index_select(0, examples.to(mask.device)).unsqueeze(0)


def _drawn(shape: tuple[int, ...], p: float, like: Tensor) -> Tensor:
    # Not in place: torch.func.vmap draws for each sample by itself only what is made anew.
    return torch.bernoulli(torch.full(shape, p, dtype=like.dtype, device=like.device))
