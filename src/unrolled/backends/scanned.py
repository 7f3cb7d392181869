"""A call's steps as sequences that a scan can take: the counterpart of ``carried`` for all at once.

Packed sequences are laid end to end, each in the order of the walk, and become a single one, in
which a state is given anew at each one's beginning: the work goes with the sum of the lengths.
Resets give a state anew as well; in a reverse run the state after one is zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from unrolled.backends.scan import scan
from unrolled.steps import Steps


class Scanned:
    """The arguments are those of :class:`~unrolled.backends.carried.Carried`.

    Values over all steps are [T, B, size], or packed [1, N, size]; inside they are [L, M, size],
    M sequences of L steps in the order of the walk.
    """

    def __init__(
        self,
        initial: Sequence[Tensor],
        steps: Steps,
        like: Tensor,
        backwards: bool,
        fresh: Sequence[Tensor] = (),
    ) -> None:
        lead = like.shape[:2]
        self._lead = lead
        self._initial = tuple(initial)
        self._back_in_time = steps.order(lead, backwards).step < 0
        self._ends = None
        self._resets = steps.resets if backwards else None
        if steps.batch_sizes is not None:
            self._ends = _Ends(steps.batch_sizes, self._back_in_time, like.device)
        resets = None if steps.resets is None else self._along(steps.resets.unsqueeze(-1))
        self._new, self._given = self._anew(resets, backwards, fresh)

    def _anew(
        self, resets: Tensor | None, backwards: bool, fresh: Sequence[Tensor]
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """Before which steps [L, M, 1] states are given, and what is given there."""
        if resets is not None and backwards:
            resets = torch.cat((torch.zeros_like(resets[:1]), resets[:-1]))
            fresh = tuple(torch.zeros_like(s) for s in self._initial)
        if self._ends is None:
            return resets, tuple(fresh)
        begins, example = self._ends.begins.reshape(-1, 1, 1), self._ends.example
        begun = tuple(s[example].unsqueeze(1) for s in self._initial)
        if resets is None:
            return begins, begun
        anew = tuple(s[example].unsqueeze(1) for s in fresh)
        # A reverse run's reset is that of the step before, which is another's where one begins.
        first = begins if backwards else begins & ~resets
        pairs = zip(begun, anew, strict=True)
        return resets | begins, tuple(torch.where(first, s, f) for s, f in pairs)

    def before(self, k: int, a: Tensor | None, b: Tensor) -> Tensor:
        """State ``k`` as it enters every step; no ``a`` is one that forgets the state, 0."""
        b = self._along(b)
        first = self._initial[k] if self._ends is None else torch.zeros_like(b[0])
        if a is None:
            after = b
        elif self._new is None:
            after = scan(self._along(a), b, first)
        else:
            a, given = self._along(a), torch.where(self._new, self._given[k], 0)
            after = scan(
                a.masked_fill(self._new, 0), torch.addcmul(b, a, given), first, self._new
            )  # fmt: skip
        entering = torch.cat((first.unsqueeze(0), after[:-1]))
        if self._new is not None:
            entering = torch.where(self._new, self._given[k], entering)
        return self._back(entering)

    def final(self, k: int, after: Tensor) -> Tensor:
        """State ``k`` [B, size] after each example's last step, from those after every step."""
        if self._resets is not None:
            after = after.masked_fill(self._resets.unsqueeze(-1), 0)
        if self._ends is None:
            return after[0] if self._back_in_time else after[-1]
        never = self._initial[k][len(self._ends.last) :]
        return torch.cat((after[0][self._ends.last], never))

    def taken_out(self, k: int, after: Tensor) -> Tensor | None:
        """The sum [B, size] of the cotangents that resets take out, in a reverse run of them."""
        if self._resets is None:
            return None
        out = after.masked_fill(~self._resets.unsqueeze(-1), 0)
        if self._ends is None:
            return out.sum(0)
        rows = out[0][self._ends.order]
        return torch.zeros_like(self._initial[k]).index_add(0, self._ends.example, rows)

    def _along(self, value: Tensor) -> Tensor:
        """A value over all steps as sequences in the order of the walk."""
        if self._ends is not None:
            return value[0][self._ends.order].unsqueeze(1)
        return value.flip(0) if self._back_in_time else value

    def _back(self, value: Tensor) -> Tensor:
        """The mirror of :meth:`_along`."""
        if self._ends is not None:
            return value[self._ends.place, 0].unsqueeze(0)
        return value.flip(0) if self._back_in_time else value


class _Ends:
    """Packed rows laid end to end, example by example.

    ``order`` [N] are the packed rows in that order and ``place`` its inverse; ``example`` [N] is
    whose row each is, ``begins`` [N] whether it is its first, and ``last`` each one's last packed
    row, of those that have any.
    """

    def __init__(
        self, batch_sizes: Sequence[int], back_in_time: bool, device: torch.device
    ) -> None:
        sizes = torch.tensor(batch_sizes, dtype=torch.long)
        there = torch.arange(int(sizes.max()) if len(sizes) else 0) < sizes.unsqueeze(1)
        rows = (sizes.cumsum(0) - sizes).unsqueeze(1) + torch.arange(there.shape[1])
        if back_in_time:
            there, rows = there.flip(0), rows.flip(0)
        order = rows.T[there.T]
        lengths = there.sum(0)
        stops = lengths.cumsum(0)
        begins = torch.zeros(len(order), dtype=torch.bool)
        begins[stops - lengths] = True
        self.order = order.to(device)
        self.place = order.argsort().to(device)
        self.example = torch.arange(len(lengths)).repeat_interleave(lengths).to(device)
        self.begins = begins.to(device)
        self.last = order[stops - 1].to(device)
