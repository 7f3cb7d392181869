"""A recurrence over sequences that end at different steps, in one rectangle [T, B, …].

A reversed direction starts at each sequence's own end.  Past its end a sequence's outputs are 0,
and what stands in its input there is never read.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Run = Callable[[Tensor], Tensor]


def checked(lengths: Tensor, n_steps: int, n_examples: int) -> Tensor:
    """``lengths`` [B] as int64; ``TypeError`` or ``ValueError`` where they are none.

    A length of 0 is refused: the specification does not say what the final state is then, and
    runtimes differ.
    """
    if lengths.is_floating_point() or lengths.is_complex() or lengths.dtype is torch.bool:
        raise TypeError(f"sequence_lens is {lengths.dtype}: expected integers")
    if tuple(lengths.shape) != (n_examples,):
        raise ValueError(f"sequence_lens must be [B] = [{n_examples}], got {list(lengths.shape)}")
    if lengths.numel() and not 1 <= int(lengths.min()) <= int(lengths.max()) <= n_steps:
        raise ValueError(
            f"sequence_lens must lie in 1 to T={n_steps}, got "
            f"{int(lengths.min())} to {int(lengths.max())}"
        )
    return lengths.long()


def run(step_all: Run, x: Tensor, lengths: Tensor, reverse: bool) -> tuple[Tensor, Tensor]:
    """``step_all``, from [T, B, D] to [T, B, E], within each sequence's ``lengths`` [B].

    Returns its results in the order of ``x``, 0 past each end, and for each sequence the result
    of the last step that was taken [B, E].
    """
    steps = torch.arange(x.shape[0], device=x.device).unsqueeze(1)
    inside = steps < lengths
    order = torch.where(inside, lengths - 1 - steps, steps)
    x = x.masked_fill(~inside.unsqueeze(-1), 0.0)
    taken = step_all(_reordered(x, order) if reverse else x)
    last = taken[lengths - 1, torch.arange(x.shape[1], device=x.device)]
    y = _reordered(taken, order) if reverse else taken
    return y.masked_fill(~inside.unsqueeze(-1), 0.0), last


def _reordered(values: Tensor, order: Tensor) -> Tensor:
    return values.gather(0, order.unsqueeze(-1).expand_as(values))
