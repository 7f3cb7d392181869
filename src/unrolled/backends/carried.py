"""States on their way through a call's steps, on tensors: who begins, who ends, who starts anew."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.ir import Var, concrete
from unrolled.steps import Steps


class Carried:
    """The states [B, size] of the examples that take part, step by step.

    In a forward run, resets put the ``fresh`` states in before a step.  In a reverse run
    (``backwards``) the states are cotangents, and resets take them out after a step; their sums
    are ``taken_out``.  ``like`` is a value over all steps.

    Padded sequences with lengths run forward only: torch differentiates what it transforms.
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
        self.order = steps.order(lead, backwards)
        self._like = like
        self._sizes = steps.sizes(lead)
        self._packed = steps.batch_sizes is not None
        self._initial = tuple(initial)
        self._fresh = tuple(fresh)
        self._backwards = backwards
        self._resets = None if steps.resets is None else self.by_step(steps.resets)
        self._now = tuple(s[:0] for s in self._initial)
        self._ended: list[tuple[Tensor, ...]] = []
        self._inside = None
        if steps.lengths is not None:
            every = torch.arange(lead[0], device=like.device)
            self._inside = (every.unsqueeze(1) < steps.lengths).unsqueeze(2).unbind(0)
        out = backwards and self._resets is not None
        self.taken_out = tuple(torch.zeros_like(s) for s in self._initial) if out else ()

    def by_step(self, value: Tensor) -> Sequence[Tensor]:
        """A value over all steps, as one [n, …] for each."""
        return value[0].split(self._sizes) if self._packed else value.unbind(0)

    def joined(self, values: list[Tensor], var: Var) -> Tensor:
        """The mirror of :meth:`by_step`, for values in the order of the walk."""
        if not values:
            lead = (1, 0) if self._packed else (0, self._like.shape[1])
            dtype = torch.bool if var.dtype == "bool" else self._like.dtype
            return self._like.new_zeros((*lead, *concrete(var.shape)), dtype=dtype)
        in_time = values[::-1] if self.order.step < 0 else values
        return torch.cat(in_time).unsqueeze(0) if self._packed else torch.stack(in_time)

    def before(self, t: int) -> tuple[Tensor, ...]:
        """The states that enter step ``t``."""
        n, n_before = self._sizes[t], len(self._now[0])
        if n < n_before:
            self._ended.append(tuple(s[n:] for s in self._now))
            self._now = tuple(s[:n] for s in self._now)
        elif n > n_before:
            begun = [s[n_before:n] for s in self._initial]
            pairs = zip(self._now, begun, strict=True)
            self._now = tuple(torch.cat(p) for p in pairs) if n_before else tuple(begun)
        if self._resets is not None and not self._backwards:
            reset = self._resets[t].unsqueeze(1)
            pairs = zip(self._fresh, self._now, strict=True)
            self._now = tuple(torch.where(reset, new[:n], s) for new, s in pairs)
        return self._now

    def after(self, t: int, states: Sequence[tuple[Tensor, bool]]) -> None:
        """The states that leave step ``t``, each with whether it is one for each example."""
        n = self._sizes[t]
        before = self._now
        self._now = tuple(s if own else s.expand(n, *s.shape) for s, own in states)
        if self._inside is not None:
            pairs = zip(self._now, before, strict=True)
            self._now = tuple(torch.where(self._inside[t], s, was) for s, was in pairs)
        if self._resets is not None and self._backwards:
            reset = self._resets[t].unsqueeze(1)
            out = [torch.where(reset, s, torch.zeros_like(s)) for s in self._now]
            rest = len(self._initial[0]) - n
            pairs = zip(self.taken_out, out, strict=True)
            self.taken_out = tuple(total + F.pad(d, (0, 0, 0, rest)) for total, d in pairs)
            self._now = tuple(torch.where(reset, torch.zeros_like(s), s) for s in self._now)

    def final(self) -> tuple[Tensor, ...]:
        """The states after each example's last step."""
        most = max(self._sizes, default=0)
        if not self._ended and most == len(self._initial[0]):
            return self._now
        never = tuple(s[most:] for s in self._initial)
        parts = (self._now, *reversed(self._ended), never)
        return tuple(torch.cat(rows) for rows in zip(*parts, strict=True))
