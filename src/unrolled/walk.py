"""From what a user says of sequences, lengths and resets, to the way that a recurrence takes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.masking import Masking
from unrolled.packing import Lengths, Packing, packing
from unrolled.steps import EVEN, OPPOSITE, Steps


def walk(
    x: Tensor, lengths: Lengths | None, resets: Tensor | None, *, reverse: bool
) -> tuple[Packing | Masking | None, Steps]:
    """How ``x`` [T, B, …] is packed, if it is, and walked through; ``resets`` are [T, B]."""
    if lengths is None and resets is None:
        return None, OPPOSITE if reverse else EVEN
    how = None if lengths is None else packing(lengths, x)
    met = None
    if resets is not None:
        met = borders(resets, x.shape[:2], x.device, how, reverse=reverse)
    return how, Steps(reverse, None, met) if how is None else how.steps(reverse, met)


def unpacked(
    x: Tensor, lengths: Lengths | None, resets: Tensor | None, *, reverse: bool
) -> tuple[None, Steps]:
    """The same while torch records a program: lengths have no numbers yet, and stay a tensor."""
    if lengths is None and resets is None:
        return None, OPPOSITE if reverse else EVEN
    given = lengths if lengths is None or isinstance(lengths, Tensor) else torch.tensor(lengths)
    return None, Steps(reverse, None, resets, given)


def borders(
    resets: Tensor,
    lead: Sequence[int],
    device: torch.device,
    how: Packing | Masking | None,
    *,
    reverse: bool,
) -> Tensor:
    """Before which step, in the order of the walk, states are reset: [T, B], or packed.

    ``lead`` is T and B.  ``TypeError`` or ``ValueError`` where resets have another dtype, shape or
    device.
    """
    if not isinstance(resets, Tensor) or resets.dtype is not torch.bool:
        got = resets.dtype if isinstance(resets, Tensor) else type(resets).__name__
        raise TypeError(f"resets must be a tensor of torch.bool, got {got}: convert with .bool()")
    if tuple(resets.shape) != tuple(lead):
        raise ValueError(f"resets must be [T, B] = {list(lead)}, got {list(resets.shape)}")
    if resets.device != device:
        raise ValueError(f"resets is on {resets.device} and x on {device}: move one to the other")
    met = resets if how is None else how.within(resets)
    if reverse and len(met):
        met = torch.cat((met[1:], torch.zeros_like(met[:1])))
    return met if how is None else how.pack(met)
