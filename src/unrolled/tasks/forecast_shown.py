"""What a picture of forecasts is drawn from: the last windows of a few series, for JSON."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.series import show
from unrolled.data.series_windows import Windows
from unrolled.models.forecaster import Forecaster

_SERIES = 4
_WINDOWS = 3


def shown(model: Forecaster, windows: Windows, forecast: NDArray[np.float64]) -> dict[str, Any]:
    """The last three forecasts, none of which overlap, of each of the first four series.

    Args:
        model: What forecast.
        windows: The windows.
        forecast: Their quantiles, ``[n, horizon, Q]``.

    Returns:
        ``value`` and ``time``, what the axes are, and ``series``: for each its ``name``, the
        ``observed`` numbers from three horizons, or two seasons, before the first forecast on,
        ``times`` of these, as texts, and ``windows`` with the place of each forecast's ``start``
        among them and the numbers of each of its ``quantiles`` by its level as a text.
    """
    config, layout = model.config, model.layout
    levels = [f"{q:g}" for q in config.quantiles]
    before = max(3 * config.horizon, 2 * config.season)
    found: list[dict[str, Any]] = []
    for which in np.unique(windows.origins[:, 0])[:_SERIES].tolist():
        places = _last(windows, which)
        one = windows.series[which]
        starts = windows.origins[places, 1]
        begin = max(0, int(starts[0]) - before)
        end = int(starts[-1]) + config.horizon
        stamps = np.arange(begin, end) + 1 if one.stamps is None else one.stamps[begin:end]
        found.append(
            {
                "name": one.name,
                "observed": one.values[begin:end].tolist(),
                "times": [show(stamp) for stamp in stamps],
                "windows": [
                    {
                        "start": int(start) - begin,
                        "quantiles": {
                            level: forecast[place, :, q].tolist() for q, level in enumerate(levels)
                        },
                    }
                    for place, start in zip(places, starts, strict=True)
                ],
            }
        )
    step = layout.frequency
    time = "place in the series (values)" if step is None else f"time (a value every {step})"
    value = layout.columns.value or "value"
    return {"value": f"{value} (unit of the data)", "time": time, "series": found}


def _last(windows: Windows, which: int) -> list[int]:
    """The places of the last windows of a series, in order, of which none overlap."""
    places = np.flatnonzero(windows.origins[:, 0] == which)
    order = places[np.argsort(windows.origins[places, 1], kind="stable")][::-1]
    taken: list[int] = []
    for place in order.tolist():
        free = not taken or (
            windows.origins[place, 1] + windows.horizon <= windows.origins[taken[-1], 1]
        )
        if free and len(taken) < _WINDOWS:
            taken.append(place)
    return taken[::-1]
