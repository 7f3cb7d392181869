"""Integrals of the parts of a derivative from 0 to 1, where the whole's integral is known.

Gauss and Legendre's rule with n points is exact for polynomials of degree 2 n − 1 and converges
geometrically for smooth functions.  What a recurrent network's gradient is along a line is smooth
but for narrow peaks; there the line is halved, again and again.  Where to halve is known: the sum
of the parts is the derivative of one function, so what its integral misses is seen at the ends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Parts = Callable[[Tensor], Tensor]
"""From places ``[n]`` to the parts of the derivative there ``[n, T]``."""
Whole = Callable[[Tensor], Tensor]
"""From places ``[n]`` to the function there ``[n]``."""

NODES, BEGIN = 8, 4


def gauss_legendre(parts: Parts, points: int) -> Tensor:
    """The integral of each part over 0 … 1 ``[T]``, by so many points."""
    places, weights = _rule(points)
    return weights @ parts(places)


def adaptive(parts: Parts, whole: Whole, tolerance: float, most: int) -> tuple[Tensor, int]:
    """The integral of each part ``[T]``, and how many points it took.

    Intervals of eight points each are halved as long as one misses more than an eighth of
    ``tolerance`` of its known change, the worst first, within ``most`` points.
    """
    nodes, weights = _rule(NODES)
    bounds = torch.linspace(0, 1, BEGIN + 1, dtype=torch.float64)
    todo, used = torch.stack([bounds[:-1], bounds[1:]], 1), 0
    total: Tensor | None = None
    while len(todo):
        width = (todo[:, 1] - todo[:, 0]).unsqueeze(1)
        slopes = parts((todo[:, :1] + width * nodes).flatten())
        used += NODES * len(todo)
        found = width * (weights @ slopes.unflatten(0, (len(todo), NODES)))
        ends = whole(todo.flatten()).view(-1, 2)
        missed = (found.sum(1) - (ends[:, 1] - ends[:, 0])).abs()
        affordable = max(0, most - used) // (2 * NODES)
        order = missed.argsort(descending=True)
        worst = order[:affordable]
        worst = worst[missed[worst] > tolerance / 8]
        good = torch.ones(len(todo), dtype=torch.bool)
        good[worst] = False
        accepted = found[good].sum(0)
        total = accepted if total is None else total + accepted
        bad = todo[worst]
        middle = bad.mean(1)
        todo = torch.cat([torch.stack([bad[:, 0], middle], 1), torch.stack([middle, bad[:, 1]], 1)])
    assert total is not None
    return total, used


def _rule(points: int) -> tuple[Tensor, Tensor]:
    """Places in 0 … 1 and their weights."""
    places, weights = np.polynomial.legendre.leggauss(points)
    return torch.from_numpy((places + 1) / 2), torch.from_numpy(weights / 2)
