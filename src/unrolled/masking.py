"""Masking: sequences of several lengths that stay padded, where the lengths can't be read.

Within ``torch.func.vmap`` over lengths, and on the meta device, there are no numbers that the
shapes of a packed batch could depend on.  Every step then takes all examples, and the states of
those that have ended pass through unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from unrolled.steps import Steps


def are_hidden(lengths: Tensor) -> bool:
    """Whether ``vmap`` hides the numbers of ``lengths``, at any depth, or they have none (meta)."""
    if lengths.is_meta:
        return True
    functorch = torch._C._functorch  # pyright: ignore
    while functorch.is_functorch_wrapped_tensor(lengths):
        if functorch.is_batchedtensor(lengths):
            return True
        lengths = functorch.get_unwrapped(lengths)
    return False


@dataclass(frozen=True, eq=False)
class Masking:
    """What :class:`unrolled.packing.Packing` offers, for ``lengths`` [B] and ``n_steps`` = T."""

    lengths: Tensor
    n_steps: int

    order = None
    back = None

    @cached_property
    def _inside(self) -> Tensor:
        steps = torch.arange(self.n_steps, device=self.lengths.device)
        return steps.unsqueeze(1) < self.lengths

    def pack(self, x: Tensor) -> Tensor:
        """[T, B, …] with zeros past each example's end, whatever stood there."""
        inside = self._inside[(...,) + (None,) * (x.dim() - 2)]
        return torch.where(inside, x, torch.zeros_like(x))

    def unpack(self, packed: Tensor) -> Tensor:
        """[T, B, …] with zeros past each example's end."""
        return self.pack(packed)

    def within(self, mask: Tensor) -> Tensor:
        """A mask [T, B], false past each example's end."""
        return mask & self._inside

    def sort(self, state: Tensor) -> Tensor:
        """The state: nothing is sorted."""
        return state

    def unsort(self, state: Tensor) -> Tensor:
        """The state."""
        return state

    def steps(self, opposite: bool, resets: Tensor | None = None) -> Steps:
        """The way through what was packed; ``resets`` are in the order of the walk."""
        return Steps(opposite, None, resets, self.lengths)
