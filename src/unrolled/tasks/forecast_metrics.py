"""How far forecasts are off: MASE, weighted quantile loss, coverage; all as functions of sums.

- MASE, the mean absolute error of the median over that of the seasonal-naive forecast one step
  ahead within the training part (Hyndman, Koehler, "Another look at measures of forecast accuracy",
  2006): below 1 is better than that.
- Weighted quantile loss: twice the pinball loss summed over all values, over the sum of their
  absolute values, the mean over quantiles (Alexandrov et al., "GluonTS: probabilistic and neural
  time series modeling in Python", 2020).
- Coverage: the share of values that lie in the interval between two quantiles.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError

Floats = NDArray[np.float64]

ERROR, COUNT, LOSS, WEIGHT, INSIDE = range(5)
"""What stands in each column of the statistics."""


def unit(values: Floats, season: int) -> float:
    """The mean absolute change of a season (of a step, where no season changes anything).

    Raises:
        DataError: where the values are constant, or there is no more than a season of them.
    """
    if len(values) <= season:
        raise DataError(
            f"MASE needs more than a season of {season} values, and there are {len(values)}"
        )
    for lag in (season, 1):
        change = float(np.abs(values[lag:] - values[:-lag]).mean())
        if change > 0:
            return change
    raise DataError("MASE needs a training part that is not constant")


def pinball(target: Floats, forecast: Floats, quantiles: Sequence[float]) -> Floats:
    """The pinball loss, ``[...,  Q]``, of forecasts ``[..., Q]`` of targets ``[...]``.

    Koenker and Bassett, "Regression quantiles", 1978.
    """
    q = np.asarray(quantiles)
    error = target[..., None] - forecast
    return np.maximum(q * error, (q - 1) * error)


def interval_of(quantiles: Sequence[float]) -> tuple[int, int] | None:
    """The places of 0.1 and 0.9, else of the outermost two; None where there is one quantile."""
    if 0.1 in quantiles and 0.9 in quantiles:
        return quantiles.index(0.1), quantiles.index(0.9)
    return (0, len(quantiles) - 1) if len(quantiles) > 1 else None


def statistics(
    target: Floats, forecast: Floats, units: Floats, quantiles: Sequence[float]
) -> Floats:
    """What each window adds to the sums: float64 ``[n, 5]``.

    Args:
        target: ``[n, horizon]``.
        forecast: ``[n, horizon, Q]``.
        units: What MASE divides each window's errors by, ``[n]``.
        quantiles: Their probabilities, 0.5 among them.
    """
    median = forecast[:, :, list(quantiles).index(0.5)]
    between = interval_of(quantiles) or (0, 0)
    low, high = (forecast[:, :, place] for place in between)
    return np.stack(
        [
            np.abs(target - median).sum(1) / units,
            np.full(len(target), float(target.shape[1])),
            2 * pinball(target, forecast, quantiles).mean(-1).sum(1),
            np.abs(target).sum(1),
            ((low <= target) & (target <= high)).sum(1),
        ],
        axis=1,
    )


def mase(sums: Floats) -> Floats:
    """MASE from sums ``[..., 5]``."""
    return sums[..., ERROR] / sums[..., COUNT]


def weighted_quantile_loss(sums: Floats) -> Floats:
    """Weighted quantile loss from sums ``[..., 5]``."""
    return sums[..., LOSS] / sums[..., WEIGHT]


def coverage(sums: Floats) -> Floats:
    """Coverage from sums ``[..., 5]``."""
    return sums[..., INSIDE] / sums[..., COUNT]


def blocks(statistics: Floats, groups: NDArray[np.int64]) -> Floats:
    """The sums of windows of one group each: float64 ``[groups, k]``.

    Windows that overlap go astray together.  Drawn together in a bootstrap they don't pass for more
    data than there is (Carlstein, "The use of subseries values for estimating the variance of a
    general statistic from a stationary sequence", 1986).
    """
    _, places = np.unique(groups, return_inverse=True)
    out = np.zeros((int(places.max()) + 1, statistics.shape[1]))
    np.add.at(out, places, statistics)
    return out
