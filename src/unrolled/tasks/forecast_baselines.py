"""What a forecaster is compared with: seasonal-naive forecasts and exponential smoothing.

Seasonal-naive repeats the last season; its errors are taken as normal, of a variance that grows
with each season ahead (Hyndman, Athanasopoulos, "Forecasting: principles and practice", 2021,
section 5.5).  Exponential smoothing is a state space model whose form is chosen by its AICc
(Hyndman, Koehler, Snyder, Grose, "A state space framework for automatic forecasting using
exponential smoothing methods", 2002), fitted by statsmodels, anew at each origin.
"""

from __future__ import annotations

import importlib.util
import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DRAWS = 2000

NOT_INSTALLED = (
    "exponential smoothing is not compared with: it needs statsmodels, which "
    "pip install 'unrolled[forecast]' brings"
)


def has_statsmodels() -> bool:
    """Whether exponential smoothing can be computed."""
    return importlib.util.find_spec("statsmodels") is not None


def seasonal_naive(values: Floats, horizon: int, season: int, quantiles: Sequence[float]) -> Floats:
    """The last season again: float64 ``[horizon, Q]``.

    Args:
        values: The past, more than a season of it.
        horizon: How many steps ahead.
        season: Its steps; 1 repeats the last value.
        quantiles: Their probabilities.
    """
    ahead = np.arange(horizon)
    point = values[len(values) - season + ahead % season]
    errors = values[season:] - values[:-season]
    spread = math.sqrt(float(np.mean(errors**2))) * np.sqrt(ahead // season + 1)
    normal = np.array([NormalDist().inv_cdf(q) for q in quantiles])
    return point[:, None] + spread[:, None] * normal


@dataclass(frozen=True)
class Form:
    """A form of exponential smoothing with additive errors.

    Attributes:
        trend: "add" or None.
        damped: Whether the trend is.
        seasonal: "add", "mul" or None.
    """

    trend: str | None = None
    damped: bool = False
    seasonal: str | None = None

    def __str__(self) -> str:
        trend = {None: "N", "add": "A"}[self.trend] + ("d" if self.damped else "")
        return f"ETS(A,{trend},{ {None: 'N', 'add': 'A', 'mul': 'M'}[self.seasonal] })"


def forms(values: Floats, season: int) -> list[Form]:
    """The forms that can be fitted to these values."""
    seasonal: list[str | None] = [None]
    if season > 1 and len(values) > 2 * season + 1:
        seasonal += ["add", "mul"] if bool((values > 0).all()) else ["add"]
    return [
        Form(t, d, s) for t, d in ((None, False), ("add", False), ("add", True)) for s in seasonal
    ]


class ExponentialSmoothing:
    """Exponential smoothing of one series, its form chosen on the values before the first origin.

    Args:
        values: Those values.
        season: The steps of a season.

    ``form`` is what was chosen, ``unconverged`` how many fits since then did not converge.
    """

    def __init__(self, values: Floats, season: int) -> None:
        self.season = season
        self.unconverged = 0
        fits = {form: self._fit(values, form) for form in forms(values, season)}
        self.form = min(fits, key=lambda form: _aicc(fits[form]))
        self._parameters: Any = fits[self.form].params
        self.unconverged = 0

    def forecast(self, values: Floats, horizon: int, quantiles: Sequence[float]) -> Floats:
        """What follows the values, fitted to all of them: float64 ``[horizon, Q]``.

        The median is the point forecast; the other quantiles are those of simulated futures.
        """
        fit = self._fit(values, self.form, self._parameters)
        errors = np.random.default_rng(0).normal(0, math.sqrt(fit.scale), (horizon, _DRAWS))
        futures = fit.simulate(horizon, "end", _DRAWS, random_errors=errors)
        found = np.quantile(np.asarray(futures).reshape(horizon, _DRAWS), quantiles, axis=1).T
        found[:, list(quantiles).index(0.5)] = fit.forecast(horizon)
        return np.sort(found, axis=1)

    def _fit(self, values: Floats, form: Form, start: Any = None) -> Any:
        from statsmodels.tools.sm_exceptions import ConvergenceWarning
        from statsmodels.tsa.exponential_smoothing.ets import ETSModel

        model = ETSModel(
            values,
            error="add",
            trend=form.trend,
            damped_trend=form.damped,
            seasonal=form.seasonal,
            seasonal_periods=self.season if form.seasonal else None,
        )
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            fit = model.fit(disp=False, start_params=start, maxiter=1000)
        self.unconverged += any(issubclass(w.category, ConvergenceWarning) for w in caught)
        return fit


def _aicc(fit: Any) -> float:
    value = float(fit.aicc)
    return math.inf if math.isnan(value) else value
