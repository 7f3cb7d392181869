"""Each window of a series in units of its own past, free of a series' level and unit.

A network learns one mapping for windows of every level where each is given as its own past has it.
With the values v of a past of length T, and the season m:

- ``last``: (v - v[T-1]) / s; s is the mean absolute change from a step to the next. Adding a
  constant to a series moves its forecast by that constant, and a factor multiplies it.
- ``seasonal``: (v[t] - v[t-m]) / s; s is the mean absolute change in a season. The forecast is
  added to the seasonal-naive one. The same two hold.
- ``mean``: v / s; s is the mean absolute value (Salinas, Flunkert, Gasthaus, "DeepAR: probabilistic
  forecasting with autoregressive recurrent networks", 2017). A factor multiplies the forecast; the
  level counts.

Means of absolute values are moved less by an outlier than standard deviations are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Scaling = Literal["last", "seasonal", "mean"]


@dataclass(frozen=True, eq=False)
class Scaled:
    """Windows in units of their own past.

    Attributes:
        inputs: ``[T', B]``, zeros behind the ends; T' is T, or T - m for ``seasonal``.
        lengths: How long each is, int64 ``[B]`` on the CPU.
        anchor: What a forecast of zeros means, ``[horizon, B]``.
        scale: The unit, ``[B]``; 0 where the past doesn't change (or is zero, for ``mean``).
    """

    inputs: Tensor
    lengths: Tensor
    anchor: Tensor
    scale: Tensor


def least_past(scaling: Scaling, season: int) -> int:
    """The fewest values that a window's past has."""
    return season + 1 if scaling == "seasonal" else 2


def scaled(values: Tensor, lengths: Tensor, horizon: int, scaling: Scaling, season: int) -> Scaled:
    """Windows in units of their own past; what stands behind a window's end is not read.

    Args:
        values: ``[T, B]``.
        lengths: int64 ``[B]`` on the CPU, each at least ``least_past``.
        horizon: For how many steps the anchor is made.
        scaling: By what.
        season: m.
    """
    ends = lengths.to(values.device)
    steps = torch.arange(len(values), device=values.device).unsqueeze(1)
    present = steps < ends
    values = torch.where(present, values, 0.0)
    if scaling == "mean":
        scale = values.abs().sum(0) / ends
        return Scaled(values / _unit(scale), lengths, values.new_zeros(horizon, len(ends)), scale)
    lag = season if scaling == "seasonal" else 1
    differences = torch.where(present[lag:], values[lag:] - values[:-lag], 0.0)
    scale = differences.abs().sum(0) / (ends - lag)
    # The last value, or the last season again and again.
    ahead = torch.arange(horizon, device=values.device).unsqueeze(1) % lag
    anchor = values.gather(0, ends - lag + ahead)
    if scaling == "seasonal":
        return Scaled(differences / _unit(scale), lengths - season, anchor, scale)
    inputs = torch.where(present, values - anchor[0], 0.0) / _unit(scale)
    return Scaled(inputs, lengths, anchor, scale)


def _unit(scale: Tensor) -> Tensor:
    return torch.where(scale > 0, scale, 1.0)
