"""The oracle: a plain Python loop over time of the step function under ``torch.vmap``.

Slow, obvious, and independent of the compiler: every backend is compared with it, forward and
every gradient.  Use it to debug a cell: the step runs as ordinary PyTorch on real tensors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from unrolled.cell import Cell
from unrolled.returned import unpack


def recurrence(
    cell: Cell,
    x: Tensor,
    states: Sequence[Tensor],
    params: Mapping[str, Tensor],
    noise: Mapping[str, Tensor] | None = None,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    reset_to: Sequence[Tensor] | None = None,
    reverse: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run ``cell`` over ``x`` [T, B, D] from ``states`` ([B, size] each); T and B at least 1.

    ``noise`` is a tensor [T, B, size] for each noise of the cell; its mean by default.
    ``lengths`` [B], ``resets`` [T, B], ``reset_to`` and ``reverse`` are as ``unrolled.recurrence``
    has them.

    Returns ``y`` [T, B, output size] and the final states.  ``ValueError`` where the step does
    not return as many states as it takes.
    """
    given = dict(noise or {})

    def step(
        x_t: Tensor, m_t: Mapping[str, Tensor], *h: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        y, new, _ = unpack(cell(x_t, *h, **params, **m_t), len(cell.states))
        return y, new

    batched: Any = torch.vmap(step)
    current = tuple(states)
    fresh = tuple(map(torch.zeros_like, states)) if reset_to is None else tuple(reset_to)
    outputs: dict[int, Tensor] = {}
    n_steps = len(x)
    for t in reversed(range(n_steps)) if reverse else range(n_steps):
        border = t + 1 if reverse else t
        if resets is not None and border < n_steps:
            reset = resets[border] if lengths is None else resets[border] & (border < lengths)
            current = _chosen(reset, fresh, current)
        outputs[t], after = batched(x[t], {n: m[t] for n, m in given.items()}, *current)
        if lengths is not None:
            going_on = t < lengths
            (outputs[t],) = _chosen(going_on, (outputs[t],), (torch.zeros_like(outputs[t]),))
            after = _chosen(going_on, after, current)
        current = after
    return torch.stack([outputs[t] for t in range(n_steps)]), current


def _chosen(condition: Tensor, a: Sequence[Tensor], b: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """For each example, where the condition [B] holds, ``a``, else ``b``."""
    return tuple(torch.where(condition[:, None], s, r) for s, r in zip(a, b, strict=True))
