"""A cell's noise, drawn by torch's generator of the device: once a sequence, or at each step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from unrolled.specs import NoiseSpec


def masks(
    noise: Sequence[tuple[NoiseSpec, int]], n_sequences: int, like: Tensor
) -> dict[str, Tensor]:
    """What is drawn once for a whole sequence, [B, size], of the noise with these lengths."""
    return {
        spec.name: _drawn((n_sequences, size), spec.p, like)
        for spec, size in noise
        if spec.each == "sequence"
    }


def over_steps(
    noise: Sequence[tuple[NoiseSpec, int]], masks: Mapping[str, Tensor], x: Tensor
) -> dict[str, Tensor]:
    """The noise [T, B, size] of a stretch of time ``x`` [T, B, D] of the first B sequences."""
    steps, batch = x.shape[:2]
    return {
        spec.name: masks[spec.name][:batch].expand(steps, batch, size)
        if spec.each == "sequence"
        else _drawn((steps, batch, size), spec.p, x)
        for spec, size in noise
    }


def _drawn(shape: tuple[int, ...], p: float, like: Tensor) -> Tensor:
    return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(p)
