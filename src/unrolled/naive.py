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
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run ``cell`` over ``x`` [T, B, D] from ``states`` ([B, size] each); T and B at least 1.

    ``noise`` is a tensor [T, B, size] for each noise of the cell; its mean by default.

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
    outputs: list[Tensor] = []
    for t, x_t in enumerate(x):
        y, current = batched(x_t, {name: m[t] for name, m in given.items()}, *current)
        outputs.append(y)
    return torch.stack(outputs), current
