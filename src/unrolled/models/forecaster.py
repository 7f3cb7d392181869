"""The forecaster: from a series' past to quantiles of its next values, all steps ahead at once.

Recurrent layers of any cell read the past of a window, in units of its own (``scaling.py``).  From
their last output, and from what is known of each future step, one hidden layer gives the quantiles
of every step ahead: the direct forecast of Wen, Torkkola, Narayanaswamy, Madeka, "A multi-horizon
quantile recurrent forecaster", 2017.  A linear map of the last values is added, the autoregressive
part of Lai, Chang, Yang, Liu, "Modeling long- and short-term temporal patterns with deep neural
networks", 2018.  Quantiles are sorted, so that they never cross, which takes them no further from
the true ones (Chernozhukov, Fernández-Val, Galichon, "Quantile and probability curves without
crossing", 2010).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.data.batch import Batch
from unrolled.data.frequency import read_stamps
from unrolled.data.series import ONE, Series, frequency
from unrolled.data.series_layout import Layout
from unrolled.data.series_windows import WindowBatches, Windows, origins
from unrolled.errors import DataError
from unrolled.models.forecaster_config import ForecasterConfig
from unrolled.models.layers import build, output_size
from unrolled.models.modes import evaluating
from unrolled.models.pretrained import Pretrained
from unrolled.models.scaling import least_past, scaled

_AT_ONCE = 256


class Forecaster(Pretrained[ForecasterConfig]):
    """A network that gives quantiles of a series' next values.

    Args:
        config: What it is built of; what it leaves open follows from the season.
        layout: What its series are like: their step and covariates.
        cell: The cell to use instead of looking up ``config.cell``, which then only names it.

    Raises:
        ModelError: where there is no such cell, a given cell has a drop-in's name, or the numbers
            don't fit each other.
        CellError: where the cell can't be built with these sizes.
    """

    KIND = "forecaster"
    CONFIG = ForecasterConfig

    def __init__(
        self, config: ForecasterConfig, layout: Layout | None = None, cell: Cell | None = None
    ) -> None:
        super().__init__()
        self.layout = layout or Layout()
        step = self.layout.frequency
        self.config = config = config.resolved(1 if step is None else step.season)
        known = self.layout.known_size
        self.recurrent = build(config, 1 + self.layout.past_size + known, cell)
        self.dropout = nn.Dropout(config.dropout)
        features, size = output_size(self.recurrent), config.head_size
        self.hidden = nn.Linear(features, config.horizon * size)
        self.known = nn.Linear(known, size, bias=False) if known else None
        self.output = nn.Linear(size, len(config.quantiles))
        lags = config.lags or 0
        self.linear = nn.Linear(lags, config.horizon, bias=False) if lags else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.output.weight.device

    @property
    def least_past(self) -> int:
        """The fewest values that a forecast needs."""
        return least_past(self.config.scaling, self.config.season)

    def forward(
        self,
        values: Tensor,
        covariates: Tensor | None = None,
        future: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Quantiles of the values that follow.

        Args:
            values: The past of each window, ``[T, B]``, on the model's device; float64 keeps what
                changes little at a high level.
            covariates: What is known of each past step, ``[T, B, P + K]``.
            future: What is known of each step ahead, ``[horizon, B, K]``.
            lengths: The steps of each past that are no padding, int64 ``[B]`` on the CPU; None
                where all are.

        Returns:
            The quantiles ``[horizon, B, Q]``, rising along the last dimension, and the unit of each
            window ``[B]``, both float64; where a unit is 0 the past was constant, and goes on so.

        Raises:
            ValueError: where a shape is another, or a past is too short.
        """
        config, dtype = self.config, self.output.weight.dtype
        if lengths is None:
            lengths = torch.full((values.shape[-1],), len(values), dtype=torch.int64)
        self._check(values, covariates, future, lengths)
        window = scaled(values.double(), lengths, config.horizon, config.scaling, config.season)
        inputs = window.inputs.to(dtype)
        x = inputs.unsqueeze(-1)
        if covariates is not None:
            # Seasonal differences begin a season later than the values.
            x = torch.cat([x, covariates[len(values) - len(x) :].to(dtype)], -1)
        y, _ = self.recurrent(x, lengths=window.lengths)
        ends = window.lengths.to(y.device)
        last = self.dropout(y[ends - 1, torch.arange(len(ends), device=y.device)])
        hidden = self.hidden(last).unflatten(1, (config.horizon, config.head_size)).transpose(0, 1)
        if self.known is not None and future is not None:
            hidden = hidden + self.known(future.to(dtype))
        out = self.output(self.dropout(hidden.relu()))
        if self.linear is not None:
            lags = self.linear.in_features
            places = ends - lags + torch.arange(lags, device=y.device).unsqueeze(1)
            recent = torch.where(places >= 0, inputs.gather(0, places.clamp(min=0)), 0.0)
            out = out + self.linear(recent.T).T.unsqueeze(-1)
        quantiles = out.double().sort(-1).values
        scale = window.scale.unsqueeze(-1)
        return window.anchor.unsqueeze(-1) + scale * quantiles, window.scale

    def of_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What ``forward`` gives for a batch of windows (``data/series_windows.py``)."""
        values, covariates = batch.sequences["values"], batch.sequences["covariates"]
        future = batch.values["future"].transpose(0, 1)
        return self(
            values.data,
            covariates.data if covariates.data.shape[2] else None,
            future if future.shape[2] else None,
            values.lengths,
        )

    def _check(
        self, values: Tensor, covariates: Tensor | None, future: Tensor | None, lengths: Tensor
    ) -> None:
        past, known = self.layout.past_size, self.layout.known_size
        if values.dim() != 2 or values.numel() == 0:
            raise ValueError(
                "expected values of shape [T, B] with T and B at least 1, got "
                f"{list(values.shape)}; one series is values.unsqueeze(1)"
            )
        given = {
            "covariates": (covariates, [*values.shape, past + known]),
            "future": (future, [self.config.horizon, values.shape[1], known]),
        }
        for name, (tensor, shape) in given.items():
            found = [*shape[:2], 0] if tensor is None else list(tensor.shape)
            if found != shape:
                raise ValueError(f"expected {name} of shape {shape}, got {found}")
        if int(lengths.min()) < self.least_past:
            raise ValueError(
                f"a past of {int(lengths.min())} values is too short: give at least "
                f"{self.least_past}"
            )

    def forecast(
        self,
        values: Sequence[float] | NDArray[Any],
        horizon: int | None = None,
        *,
        times: Sequence[Any] | NDArray[Any] | None = None,
        known: Mapping[str, Sequence[float]] | None = None,
        past: Mapping[str, Sequence[float]] | None = None,
    ) -> NDArray[np.float64]:
        """Quantiles of the values that follow ``values``.

        Args:
            values: One series up to now, ``[n]``.
            horizon: How many steps ahead, at most what the model was trained for, which None takes.
            times: When each value is, ``[n]``: needed where the model reads the calendar.
            known: Covariates known in the future, by name: ``[n + the model's horizon]`` each.
            past: Covariates known up to now, by name: ``[n]`` each.

        Returns:
            float64 ``[horizon, Q]``, rising along the second axis, for ``config.quantiles``.

        Raises:
            DataError: where values are not finite or too few, covariates or times are missing or of
                another length, or the horizon is longer than the model's.
        """
        most = self.config.horizon
        wanted = most if horizon is None else horizon
        if not 1 <= wanted <= most:
            raise DataError(
                f"the model forecasts 1 to {most} steps ahead, not {wanted}: its horizon is set "
                "when it is trained"
            )
        series = self._series(values, times, known or {}, past or {})
        return self.rolling(series, [len(series)])[0, :wanted]

    def rolling(self, series: Series, places: Sequence[int]) -> NDArray[np.float64]:
        """Forecasts from several origins, each of which reads what is before it alone.

        Args:
            series: One series.
            places: The origins: place i forecasts the values i, i + 1, … from those before i.

        Returns:
            float64 ``[len(places), horizon, Q]``.

        Raises:
            DataError: where there are too few values before an origin, or covariates are missing.
        """
        latest, least = max(places), self.least_past
        if len(series) < least:
            raise DataError(
                f"a forecast needs at least {least} values, and there are {len(series)}"
            )
        for place in places:
            if not least <= place <= len(series):
                raise DataError(
                    f"a series of {len(series)} values is forecast from place {least} to "
                    f"{len(series)}, not from {place}"
                )
        config = self.config
        encoded = self.layout.encode(series, max(0, latest + config.horizon - len(series)))
        at = origins([range(len(places))])
        at[:, 1] = places
        windows = Windows((encoded,), at, config.context, config.horizon)
        return self.of_windows(windows)

    def of_windows(self, windows: Windows) -> NDArray[np.float64]:
        """The quantiles of windows: float64 ``[n, horizon, Q]``, in evaluation mode."""
        found: list[Tensor] = []
        with evaluating(self), torch.no_grad():
            for batch in WindowBatches(windows, _AT_ONCE, None).batches():
                found.append(self.of_batch(batch.to(self.device))[0].transpose(0, 1).cpu())
        return torch.cat(found).numpy()

    def _series(
        self,
        values: Sequence[float] | NDArray[Any],
        times: Sequence[Any] | NDArray[Any] | None,
        known: Mapping[str, Sequence[float]],
        past: Mapping[str, Sequence[float]],
    ) -> Series:
        numbers = np.asarray(values, np.float64)
        if numbers.ndim != 1 or not np.isfinite(numbers).all():
            what = "not finite" if numbers.ndim == 1 else f"of shape {list(numbers.shape)}"
            raise DataError(f"a series is finite numbers [n], and this one is {what}")
        n, columns = len(numbers), self.layout.columns
        stamps = None
        if times is not None:
            stamps = read_stamps(list(times))
            if len(stamps) != n:
                raise DataError(f"there are {len(stamps)} times for {n} values")
        series = Series(
            ONE,
            numbers,
            _columns(known, columns.known, n + self.config.horizon, "known"),
            _columns(past, columns.past, n, "past"),
            stamps,
        )
        if n > 1 and stamps is not None:
            self.layout.check(frequency([series]))
        return series

    def knowledge(self) -> Mapping[str, object]:
        """What its series are like."""
        return self.layout.to_dict()

    @classmethod
    def built(
        cls, config: ForecasterConfig, known: Mapping[str, Any], cell: Cell | None
    ) -> Forecaster:
        """See ``Pretrained.built``."""
        return cls(config, Layout.from_dict(known), cell)


def _columns(
    given: Mapping[str, Sequence[float]], names: Sequence[str], n: int, which: str
) -> NDArray[np.float64]:
    """Covariates side by side, ``[n, len(names)]``."""
    if sorted(given) != sorted(names):
        raise DataError(
            f"the model has the {which} covariates {', '.join(names) or 'none'}, and "
            f"{', '.join(given) or 'none'} came: give {which}={{name: values, …}}"
        )
    columns = [np.asarray(given[name], np.float64) for name in names]
    for name, column in zip(names, columns, strict=True):
        if column.shape != (n,) or not np.isfinite(column).all():
            raise DataError(
                f"the {which} covariate {name} is {n} finite numbers here, and came as an array of "
                f"shape {list(column.shape)}"
            )
    return np.stack(columns, 1) if columns else np.zeros((n, 0))
