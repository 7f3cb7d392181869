"""How sure a rate is, from how much the sequences differ: a bootstrap over them.

Efron 1979: sequences are drawn with replacement, as many as there are, and the rate is fitted to
the mean of each such draw.  The percentiles of a bootstrap are too narrow by √((n − 1)/n) for n
sequences, which is made good.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

DRAWS, SURE = 100, 0.9
_SEED = 0


def rates(each: Tensor, slopes: Callable[[Tensor], Tensor], slope: float) -> tuple[float, float]:
    """The factors from one step to the next that 90 % of draws lie between.

    Args:
        each: A curve for each sequence ``[N, B]``, NaN where one does not reach so far; B is 2 or
            more.
        slopes: From the logarithms of curves ``[R, N]`` to the slope of each ``[R]``.
        slope: That of the mean of all.
    """
    count = each.shape[1]
    draw = torch.Generator().manual_seed(_SEED)
    taken = torch.randint(count, (DRAWS, count), generator=draw)
    weights = torch.zeros(DRAWS, count, dtype=torch.float64)
    weights.scatter_add_(1, taken, torch.ones_like(weights))
    there = ~each.isnan()
    # A distance that no sequence of a draw reaches is 0/0; its draw says nothing.
    means = (weights @ each.nan_to_num(0.0).double().T) / (weights @ there.double().T)
    logs = means.log()
    logs = logs[logs.isfinite().all(1)]
    if not len(logs):
        return math.exp(slope), math.exp(slope)
    widened = slope + (slopes(logs) - slope) * math.sqrt(count / (count - 1))
    points = torch.tensor([(1 - SURE) / 2, (1 + SURE) / 2], dtype=torch.float64)
    low, high = widened.quantile(points).tolist()
    return math.exp(min(low, slope)), math.exp(max(high, slope))
