"""The forms in which sequences come and go, and the two forms inside: even and packed.

A batch comes as ``[T, B, D]`` or ``[B, T, D]``, with the lengths of its sequences or without; as a
single sequence ``[T, D]``; as a ``PackedSequence``; or as a nested tensor of torch's jagged layout,
``[B, length of each, D]``.  Inside, what has one length is [T, B, D], and all else is packed,
[1, N, D] (see :mod:`unrolled.packing`); ``Batch.restore`` brings outputs into the form that came.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.masking import Masking, are_hidden
from unrolled.operators import torch_looks_on
from unrolled.packing import Lengths, Packing, of_numbers, packing
from unrolled.steps import EVEN, OPPOSITE, Steps
from unrolled.walk import borders, unpacked

States = tuple[Tensor, ...]
Input = TypeVar("Input", Tensor, PackedSequence)


_RECORDED = (
    "{} can't be recorded (torch.compile, torch.export, dispatch modes), for the sizes within it "
    "are known only when the program runs: give the padded tensor and lengths="
)


@dataclass(frozen=True, eq=False)
class Batch:
    """Sequences as the recurrence takes them.

    ``data`` are [T, B, D] or packed [1, N, D] with ``order``, its examples sorted, and ``back``.
    ``steps`` are the ways through it of the forward and of the backward direction.
    """

    data: Tensor
    steps: tuple[Steps, Steps]
    size: int
    restore: Callable[[Tensor], Tensor | PackedSequence]
    order: Tensor | None = None
    back: Tensor | None = None
    single: bool = False

    def states_in(self, states: Sequence[Tensor]) -> States:
        """The user's states as [rows, B, size] in the order of the examples inside."""
        if self.single:
            return tuple(s.unsqueeze(1) for s in states)
        if self.order is None:
            return tuple(states)
        return tuple(s.index_select(1, self.order) for s in states)

    def states_out(self, states: Sequence[Tensor]) -> States:
        """The mirror of :meth:`states_in`."""
        if self.single:
            return tuple(s.squeeze(1) for s in states)
        if self.back is None:
            return tuple(states)
        return tuple(s.index_select(1, self.back) for s in states)


def gather(
    x: Tensor | PackedSequence,
    *,
    batch_first: bool,
    lengths: Lengths | None = None,
    resets: Tensor | None = None,
) -> Batch:
    """``x`` in the form inside.

    ``lengths`` [B] are for a padded ``x``.  ``resets`` have the form of a padded ``x`` without D;
    for a ``PackedSequence`` or a nested tensor that of the padded batch that it stands for.

    Raises ``TypeError`` or ``ValueError`` for lengths or resets that do not fit.
    """
    if isinstance(x, PackedSequence):
        return _packed(x, resets, batch_first)
    if x.is_nested:
        return _nested(x, resets)
    if x.dim() == 2:
        return _single(x, lengths, resets)
    time_major = x.transpose(0, 1) if batch_first else x
    over_time = _time_major(resets, batch_first, time_major.shape[:2])
    if torch_looks_on():
        return _recorded(time_major, lengths, over_time, batch_first)
    how = None if lengths is None else packing(lengths, time_major)

    def restore(y: Tensor) -> Tensor:
        padded = y if how is None else how.unpack(y)
        return padded.transpose(0, 1) if batch_first else padded

    steps = _both_ways(time_major.shape[:2], over_time, how, x.device)
    if how is None:
        return Batch(time_major, steps, time_major.shape[1], restore)
    data = how.pack(time_major)
    return Batch(data, steps, x.shape[0 if batch_first else 1], restore, how.order, how.back)


def batch_size(x: Tensor | PackedSequence, *, batch_first: bool) -> int:
    """The number of sequences in ``x``."""
    if isinstance(x, PackedSequence):
        return int(x.batch_sizes[0])
    if x.is_nested:
        return x.size(0)
    if x.dim() == 2:
        return 1
    return x.shape[0 if batch_first else 1]


def _recorded(
    x: Tensor, lengths: Lengths | None, resets: Tensor | None, batch_first: bool
) -> Batch:
    """A batch in a program that torch records: padded to the end, whatever its lengths."""
    forward, backward = (unpacked(x, lengths, resets, reverse=r)[1] for r in (False, True))

    def restore(y: Tensor) -> Tensor:
        return y.transpose(0, 1) if batch_first else y

    return Batch(x, (forward, backward), x.shape[1], restore)


def _single(x: Tensor, lengths: Lengths | None, resets: Tensor | None) -> Batch:
    if lengths is not None:
        raise ValueError("lengths are for a batch: cut a single sequence [T, D] to its length")
    over_time = resets.unsqueeze(1) if isinstance(resets, Tensor) and resets.dim() == 1 else resets
    data = x.unsqueeze(1)
    if torch_looks_on():
        forward, backward = (unpacked(data, None, over_time, reverse=r)[1] for r in (False, True))
        steps = forward, backward
    else:
        steps = _both_ways((x.shape[0], 1), over_time, None, x.device)
    return Batch(data, steps, 1, lambda y: y.squeeze(1), single=True)


def _packed(x: PackedSequence, resets: Tensor | None, batch_first: bool) -> Batch:
    if torch_looks_on():
        raise ValueError(_RECORDED.format("a PackedSequence"))
    if are_hidden(x.batch_sizes):
        raise ValueError(
            "a PackedSequence that is made within vmap does not say its lengths: give the padded "
            "tensor and lengths="
        )
    sizes = tuple(cast("list[int]", x.batch_sizes.tolist()))
    batch, n_steps = sizes[0], len(sizes)
    order, back = x.sorted_indices, x.unsorted_indices

    def restore(y: Tensor) -> PackedSequence:
        return PackedSequence(y.flatten(0, 1), x.batch_sizes, order, back)

    over_time = _time_major(resets, batch_first, (n_steps, batch))
    if sizes[-1] == batch:
        data = x.data.unflatten(0, (n_steps, batch))
        if over_time is not None and order is not None:
            over_time = over_time.index_select(1, order)
        steps = _both_ways((n_steps, batch), over_time, None, data.device)
        return Batch(data, steps, batch, restore, order=order, back=back)
    how = None
    if over_time is not None:
        examples = torch.arange(batch, device=x.data.device) if order is None else order
        rows = torch.cat([t * batch + examples[:n] for t, n in enumerate(sizes)])
        how = Packing(rows, examples, examples, sizes, n_steps)
    steps = _both_ways((n_steps, batch), over_time, how, x.data.device, sizes)
    return Batch(x.data.unsqueeze(0), steps, batch, restore, order=order, back=back)


def _nested(x: Tensor, resets: Tensor | None) -> Batch:
    if torch_looks_on():
        raise ValueError(_RECORDED.format("a nested tensor"))
    # Torch's stubs leave out what only nested tensors have.
    nested = cast(Any, x)
    values, offsets, given = nested.values(), nested.offsets(), nested.lengths()
    lengths = (offsets.diff() if given is None else given).cpu()
    batch, longest = len(lengths), int(lengths.max()) if len(lengths) else 0
    how = of_numbers(lengths, longest, x.device)
    # A padded row's number says its step and its example, whose values stand from its offset on.
    examples = how.rows.remainder(max(1, batch))
    rows = offsets[examples] + how.rows.div(max(1, batch), rounding_mode="floor")

    def restore(y: Tensor) -> Tensor:
        out = y.new_zeros(values.shape[0], *y.shape[2:]).index_copy(0, rows, y[0])
        return torch.nested.nested_tensor_from_jagged(out, offsets, given)

    over_time = _time_major(resets, True, (longest, batch))
    walks = _both_ways((longest, batch), over_time, how, x.device)
    data = values.index_select(0, rows).unsqueeze(0)
    return Batch(data, walks, batch, restore, how.order, how.back)


def _time_major(resets: Tensor | None, batch_first: bool, lead: Sequence[int]) -> Tensor | None:
    """Resets as [T, B]; ``ValueError`` in the user's own words where they are not so many."""
    if not batch_first or not isinstance(resets, Tensor):
        return resets
    if tuple(resets.shape) != (lead[1], lead[0]):
        raise ValueError(f"resets must be [B, T] = {[lead[1], lead[0]]}, got {list(resets.shape)}")
    return resets.transpose(0, 1)


def _both_ways(
    lead: Sequence[int],
    resets: Tensor | None,
    how: Packing | Masking | None,
    device: torch.device,
    sizes: tuple[int, ...] | None = None,
) -> tuple[Steps, Steps]:
    """Steps of both directions; ``resets`` are [T, B], and packed with the data."""
    if resets is None and how is None and sizes is None:
        return EVEN, OPPOSITE
    forward = backward = None
    if resets is not None:
        forward, backward = (borders(resets, lead, device, how, reverse=r) for r in (False, True))
    if how is not None:
        return how.steps(False, forward), how.steps(True, backward)
    return Steps(False, sizes, forward), Steps(True, sizes, backward)
