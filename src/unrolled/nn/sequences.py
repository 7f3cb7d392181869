"""The forms in which sequences come and go, and the one form inside: flat data and its runs.

A batch comes as ``[T, B, D]``, as ``[B, T, D]``, as a single sequence ``[T, D]``, or as a
``PackedSequence`` of sequences of several lengths.  Inside, all are *flat data* ``[N, D]``, the
rows of one time step after those of the other, and *runs* ``(steps, batch)``: stretches of time
over which the batch stays the same.  A tensor is one run; a packed sequence has one for each
distinct length, and its batch shrinks from run to run, as the longest sequences stand first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

Runs = tuple[tuple[int, int], ...]
States = tuple[Tensor, ...]
Input = TypeVar("Input", Tensor, PackedSequence)


def flatten(x: Tensor | PackedSequence, *, batch_first: bool) -> tuple[Tensor, Runs]:
    """``x`` as flat data [N, D] and its runs."""
    if isinstance(x, PackedSequence):
        batches, steps = torch.unique_consecutive(x.batch_sizes, return_counts=True)
        return x.data, tuple(zip(steps.tolist(), batches.tolist(), strict=True))
    if x.dim() == 2:
        return x, ((x.shape[0], 1),)
    if batch_first:
        x = x.transpose(0, 1)
    return x.flatten(0, 1), ((x.shape[0], x.shape[1]),)


def restore(data: Tensor, like: Input, *, batch_first: bool) -> Input:
    """Flat data in the form of ``like``."""
    if isinstance(like, PackedSequence):
        return PackedSequence(data, like.batch_sizes, like.sorted_indices, like.unsorted_indices)
    if like.dim() == 2:
        return data
    steps, batch = (like.shape[1], like.shape[0]) if batch_first else like.shape[:2]
    y = data.unflatten(0, (steps, batch))
    return y.transpose(0, 1) if batch_first else y


def states_in(states: Sequence[Tensor], x: Tensor | PackedSequence) -> States:
    """The user's states, in the order of the user's batch, as [rows, B, size] in that of ``x``."""
    if isinstance(x, PackedSequence):
        return _permute(states, x.sorted_indices)
    return tuple(s.unsqueeze(1) for s in states) if x.dim() == 2 else tuple(states)


def states_out(states: Sequence[Tensor], x: Tensor | PackedSequence) -> States:
    """The mirror of :func:`states_in`."""
    if isinstance(x, PackedSequence):
        return _permute(states, x.unsorted_indices)
    return tuple(s.squeeze(1) for s in states) if x.dim() == 2 else tuple(states)


def batch_size(x: Tensor | PackedSequence, *, batch_first: bool) -> int:
    """The number of sequences in ``x``."""
    if isinstance(x, PackedSequence):
        return int(x.batch_sizes[0])
    if x.dim() == 2:
        return 1
    return x.shape[0 if batch_first else 1]


def _permute(states: Sequence[Tensor], order: Tensor | None) -> States:
    if order is None:
        return tuple(states)
    return tuple(s.index_select(1, order) for s in states)
