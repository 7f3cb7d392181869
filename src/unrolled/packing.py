"""Packing: sequences of several lengths as rows without padding, and back.

Examples are sorted by length, the longest first; the rows of one step stand after those of the
other, as in torch's ``PackedSequence``.  Each element is copied once, which takes a small part of
the time of the products that are saved on padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.masking import Masking, are_hidden
from unrolled.steps import Steps

Lengths = Tensor | Sequence[int]


@dataclass(frozen=True, eq=False)
class Packing:
    """Where the rows of [T, B, …] stand in their packed form [1, N, …].

    ``rows`` [N] are their numbers in [T · B, …], ``order`` [B] the examples as they are sorted and
    ``back`` [B] its inverse.  ``batch_sizes`` are how many take part in each step.
    """

    rows: Tensor
    order: Tensor
    back: Tensor
    batch_sizes: tuple[int, ...]
    n_steps: int

    def pack(self, x: Tensor) -> Tensor:
        """[T, B, …] as [1, N, …]."""
        # The vmap of is_grads_batched knows no flatten.
        rows = x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
        return rows.index_select(0, self.rows).unsqueeze(0)

    def unpack(self, packed: Tensor) -> Tensor:
        """[1, N, …] as [T, B, …], with zeros past each example's end."""
        batch, inner = len(self.order), packed.shape[2:]
        padded = packed.new_zeros(self.n_steps * batch, *inner)
        return padded.index_copy(0, self.rows, packed[0]).view(self.n_steps, batch, *inner)

    def within(self, mask: Tensor) -> Tensor:
        """A mask [T, B], false past each example's end."""
        inside = torch.zeros_like(mask).flatten()
        inside[self.rows] = True
        return mask & inside.view_as(mask)

    def sort(self, state: Tensor) -> Tensor:
        """The examples of a state, sorted."""
        return state.index_select(0, self.order)

    def unsort(self, state: Tensor) -> Tensor:
        """The mirror of :meth:`sort`."""
        return state.index_select(0, self.back)

    def steps(self, opposite: bool, resets: Tensor | None = None) -> Steps:
        """The way through what was packed; ``resets`` are too, in the order of the walk."""
        return Steps(opposite, self.batch_sizes, resets)


def packing(lengths: Lengths, x: Tensor) -> Packing | Masking | None:
    """How to pack ``x`` [T, B, …] with these lengths; ``None`` where all are T.

    ``lengths`` are B whole numbers from 0 to T, in any order, as a tensor on any device or a
    sequence.  Raises ``TypeError`` or ``ValueError`` where they are not; but numbers that ``vmap``
    hides can't be checked, and those beyond T are taken as T.
    """
    n_steps, batch = x.shape[:2]
    given = _whole(lengths, batch)
    if are_hidden(given):
        return Masking(given.to(x.device), n_steps)
    given = _within(given.detach().cpu().long(), n_steps)
    if bool((given == n_steps).all()):
        return None
    return of_numbers(given, n_steps, x.device)


def of_numbers(lengths: Tensor, n_steps: int, device: torch.device) -> Packing:
    """How sequences of these lengths are packed, [B] on the CPU and at most ``n_steps``."""
    batch = len(lengths)
    ordered, order = lengths.sort(descending=True, stable=True)
    longest = int(ordered[0]) if batch else 0
    takes_part = torch.arange(longest).unsqueeze(1) < ordered
    steps, places = takes_part.nonzero(as_tuple=True)
    back = torch.empty_like(order)
    back[order] = torch.arange(batch)
    return Packing(
        (steps * batch + order[places]).to(device),
        order.to(device),
        back.to(device),
        tuple(takes_part.sum(1).tolist()),
        n_steps,
    )


def _whole(lengths: Lengths, batch: int) -> Tensor:
    given = lengths if isinstance(lengths, Tensor) else torch.as_tensor(lengths)
    if not given.numel():
        given = given.long()
    if given.is_floating_point() or given.is_complex() or given.dtype is torch.bool:
        raise TypeError(f"lengths must be whole numbers, got {given.dtype}: convert with .long()")
    if given.shape != (batch,):
        raise ValueError(
            f"lengths must be [B] = [{batch}], one for each example, got {list(given.shape)}"
        )
    return given


def _within(given: Tensor, n_steps: int) -> Tensor:
    wrong = ((given < 0) | (given > n_steps)).nonzero().flatten()
    if len(wrong):
        k = int(wrong[0])
        raise ValueError(
            f"lengths[{k}] is {int(given[k])}: expected 0 to {n_steps}, the number of steps of x"
        )
    return given
