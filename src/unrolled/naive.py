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
    cell: Cell, x: Tensor, states: Sequence[Tensor], params: Mapping[str, Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run ``cell`` over ``x`` [T, B, D] from ``states`` ([B, size] each); T and B at least 1.

    Returns ``y`` [T, B, output size] and the final states.  ``ValueError`` where the step does
    not return as many states as it takes.
    """

    def step(x_t: Tensor, *h: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        y, new, _ = unpack(cell(x_t, *h, **params), len(cell.states))
        return y, new

    batched: Any = torch.vmap(step)
    current = tuple(states)
    outputs: list[Tensor] = []
    for x_t in x:
        y, current = batched(x_t, *current)
        outputs.append(y)
    return torch.stack(outputs), current
