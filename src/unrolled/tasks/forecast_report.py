"""How a forecaster does from rolling origins, beside baselines on exactly the same ones.

Intervals are bootstrapped over blocks of as many origins as the horizon has steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.series_windows import Windows
from unrolled.errors import DataError
from unrolled.models.forecaster import Forecaster
from unrolled.tasks import forecast_metrics as metrics
from unrolled.tasks.bootstrap import interval
from unrolled.tasks.forecast_baselines import (
    NOT_INSTALLED,
    ExponentialSmoothing,
    has_statsmodels,
    seasonal_naive,
)
from unrolled.tasks.report import Figure, Report

Floats = NDArray[np.float64]

NAIVE = "seasonal-naive"
SMOOTHING = "exponential smoothing"


@dataclass
class Compared:
    """Forecasts of the same windows by several methods.

    Attributes:
        target: ``[n, horizon]``.
        units: What MASE divides by, ``[n]``.
        groups: The block of each window, int64 ``[n]``.
        forecasts: By the method's name, ``[n, horizon, Q]``; the model's own is "model".
        notes: What is to be said of them.
    """

    target: Floats
    units: Floats
    groups: NDArray[np.int64]
    forecasts: dict[str, Floats]
    notes: list[str] = field(default_factory=list[str])


def compare(model: Forecaster, windows: Windows, smoothing: bool) -> Compared:
    """The model's forecasts of these windows and those of the baselines.

    Args:
        model: The model.
        windows: Whose targets end within their series; the series' earlier values are all the
            baselines' to use.
        smoothing: Whether exponential smoothing is among the baselines.

    Raises:
        DataError: where a series is too short or constant before its first origin.
    """
    config = model.config
    season, horizon, quantiles = config.season, config.horizon, config.quantiles
    n = len(windows)
    target = np.zeros((n, horizon))
    units, groups = np.zeros(n), np.zeros(n, np.int64)
    forecasts = {"model": model.of_windows(windows), NAIVE: np.zeros((n, horizon, len(quantiles)))}
    notes: list[str] = []
    if smoothing and not has_statsmodels():
        notes.append(NOT_INSTALLED)
        smoothing = False
    if smoothing:
        forecasts[SMOOTHING] = np.zeros_like(forecasts[NAIVE])
    block, chosen, unconverged = 0, dict[str, int](), 0
    for which in np.unique(windows.origins[:, 0]):
        values = windows.series[which].values
        places = np.flatnonzero(windows.origins[:, 0] == which)
        first = int(windows.origins[places, 1].min())
        series_unit = metrics.unit(values[:first], season)
        fitted = ExponentialSmoothing(values[:first], season) if smoothing else None
        for place in places:
            origin = int(windows.origins[place, 1])
            before = values[:origin]
            target[place] = values[origin : origin + horizon]
            units[place] = series_unit
            groups[place] = block + (origin - first) // horizon
            forecasts[NAIVE][place] = seasonal_naive(before, horizon, season, quantiles)
            if fitted is not None:
                forecasts[SMOOTHING][place] = fitted.forecast(before, horizon, quantiles)
        block = int(groups[places].max()) + 1
        if fitted is not None:
            chosen[str(fitted.form)] = chosen.get(str(fitted.form), 0) + 1
            unconverged += fitted.unconverged
    if chosen:
        named = ", ".join(f"{form} for {times} series" for form, times in chosen.items())
        notes.append(f"{SMOOTHING}: {named}, chosen by AICc, fitted anew at each origin")
    if unconverged:
        notes.append(
            f"{SMOOTHING}: {unconverged} of {n} fits did not converge, and are used as they are"
        )
    return Compared(target, units, groups, forecasts, notes)


def report(compared: Compared, quantiles: Sequence[float], on: str) -> Report:
    """Figures, each with its interval, and a table of all methods.

    Args:
        compared: The forecasts.
        quantiles: Their probabilities.
        on: What the data is.
    """
    sums = {
        name: metrics.blocks(
            metrics.statistics(compared.target, forecast, compared.units, quantiles),
            compared.groups,
        )
        for name, forecast in compared.forecasts.items()
    }
    totals = {name: blocks.sum(0) for name, blocks in sums.items()}
    if totals["model"][metrics.WEIGHT] == 0:
        raise DataError("all held-out values are zero: there is no weighted quantile loss of them")
    between = metrics.interval_of(quantiles)
    figures: list[Figure] = []
    for name, figure in (
        ("MASE", metrics.mase),
        ("weighted quantile loss", metrics.weighted_quantile_loss),
    ):
        low, high = interval(sums["model"], figure)
        naive = float(figure(totals[NAIVE]))
        figures.append(
            Figure(name, float(figure(totals["model"])), low, high, naive, NAIVE, "lower")
        )
        if SMOOTHING in sums:
            figures.append(_relative(name, figure, sums["model"], sums[SMOOTHING]))
    if between is not None:
        nominal = quantiles[between[1]] - quantiles[between[0]]

        # An interval that covers all is no better than one that covers too little.
        def off(sums: Floats) -> Floats:
            return np.abs(metrics.coverage(sums) - nominal)

        low, high = interval(sums["model"], off)
        value, naive = float(off(totals["model"])), float(off(totals[NAIVE]))
        name = f"distance of the coverage from {nominal:.0%}"
        figures.append(Figure(name, value, low, high, naive, NAIVE, "lower", "%"))
    methods = {
        name: {
            "MASE": float(metrics.mase(total)),
            "weighted quantile loss": float(metrics.weighted_quantile_loss(total)),
            "coverage": float(metrics.coverage(total)),
        }
        for name, total in totals.items()
    }
    details: dict[str, Any] = {
        "methods": methods,
        "quantiles": list(quantiles),
        "origins": len(compared.target),
        "notes": compared.notes,
    }
    tables = {"methods": _table(methods, between is not None)}
    if compared.notes:
        tables["notes"] = "\n".join(compared.notes)
    return Report(on, tuple(figures), tables, details)


def _relative(name: str, of: Callable[[Floats], Floats], own: Floats, other: Floats) -> Figure:
    """The model's figure over exponential smoothing's, of the same blocks in each draw."""
    k = own.shape[1]

    def ratio(sums: Floats) -> Floats:
        return of(sums[..., :k]) / of(sums[..., k:])

    both = np.concatenate([own, other], 1)
    low, high = interval(both, ratio)
    name = f"{name} relative to {SMOOTHING}"
    return Figure(name, float(ratio(both.sum(0))), low, high, 1.0, SMOOTHING, "lower")


def _table(methods: Mapping[str, Mapping[str, float]], with_interval: bool) -> str:
    width = max(map(len, methods))
    lines = [f"{'':{width}}    MASE  quantile loss" + ("  coverage" if with_interval else "")]
    for name, figures in methods.items():
        line = f"{name:{width}}  {figures['MASE']:6.3f}  {figures['weighted quantile loss']:13.4f}"
        lines.append(line + (f"  {figures['coverage']:8.1%}" if with_interval else ""))
    return "\n".join(lines)
