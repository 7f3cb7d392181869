"""A linear recurrence ``s_t = a_t ⊙ s_{t-1} + b_t`` as a parallel scan: O(log T) calls to torch.

Two steps in a row are one of the same form, ``a_1 a_0 ⊙ s + (a_1 b_0 + b_1)`` (Blelloch 1990,
"Prefix sums and their applications"; for recurrent networks Martin & Cundy 2018, "Parallelizing
linear recurrent neural nets over sequence length").  So the steps are joined in pairs, the half as
many pairs are solved in the same way, which gives the states after every second step, and one more
step from each gives those between.  Each halving halves work and memory too, so that both are a
small multiple of the loop's, where doubling in place (Hillis & Steele 1986) takes log T times.

No logarithm is taken, so that factors may have any sign and be zero.  A state's terms are rounded
once for each of their factors, as in the loop, and in at most ``2 log2 T`` sums in place of T.
Products of factors are formed that the loop does not form: within ±1 they can only fade to zero,
beyond it they may overflow.  Who calls must know (:func:`unrolled.passes.intervals.contracts`).

Every call is one that torch differentiates again, and batches.
"""

from __future__ import annotations

import torch
from torch import Tensor

SHORT = 8
"""Sequences of so many steps are walked: fewer calls than three more halvings."""


def scan(a: Tensor, b: Tensor, first: Tensor, new: Tensor | None = None) -> Tensor:
    """The states [T, …] after every step, from ``a`` and ``b`` [T, …] and ``first`` […].

    Where ``new`` [T, …] (it broadcasts) is true, the state before the step does not count, whatever
    it is, also where it is no number; ``a`` must be 0 there.
    """
    n = len(a)
    if n <= SHORT:
        return _walk(a, b, first, new)
    pairs = n // 2
    a_0, a_1, b_0, b_1 = a[: 2 * pairs : 2], a[1::2], b[: 2 * pairs : 2], b[1::2]
    joined = None
    if new is None:
        factor = a_1 * a_0
    else:
        joined = new[: 2 * pairs : 2] | new[1::2]
        factor = (a_1 * a_0).masked_fill(joined, 0)
    odd = scan(factor, _step(a_1, b_0, b_1, None if new is None else new[1::2]), first, joined)
    before = torch.cat((first.unsqueeze(0), odd[: n - pairs - 1]))
    even = _step(a[::2], before, b[::2], None if new is None else new[::2])
    states = torch.stack((even[:pairs], odd), 1).flatten(0, 1)
    return torch.cat((states, even[pairs:])) if n % 2 else states


def _walk(a: Tensor, b: Tensor, first: Tensor, new: Tensor | None) -> Tensor:
    states = [first]
    for t in range(len(a)):
        states.append(_step(a[t], states[-1], b[t], None if new is None else new[t]))
    return torch.stack(states[1:]) if len(a) else b


def _step(a: Tensor, s: Tensor, b: Tensor, new: Tensor | None) -> Tensor:
    return torch.addcmul(b, a, s if new is None else s.masked_fill(new, 0))
