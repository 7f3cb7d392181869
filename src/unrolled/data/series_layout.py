"""What a model knows of its series besides weights: columns, step, and how covariates are scaled.

Covariates are given to a network less their mean and over their standard deviation, both of the
training part, and those of the calendar as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unrolled.data.frequency import Frequency, Stamps, from_dict, to_dict
from unrolled.data.series import Columns, Series, label
from unrolled.errors import DataError

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Encoded:
    """A series as windows are cut from it.

    Attributes:
        name: Its id.
        values: float64 ``[n]``.
        covariates: What is known of each step once it is past: float32 ``[n, P + K]``.
        known: What is known of each step before it: float32 ``[n + ahead, K]``.
        stamps: When each value is, ``[n]`` or more; None where there is no time.
    """

    name: str
    values: NDArray[np.float64]
    covariates: Floats
    known: Floats
    stamps: Stamps | None = None


@dataclass(frozen=True)
class Layout:
    """What the series of a model are like.

    Attributes:
        columns: Their columns.
        frequency: Their step; None where they have no time stamps.
        calendar: Whether the network is given the calendar.
        known: Mean and standard deviation of each covariate that is known in the future.
        past: The same of each that is known up to now.
    """

    columns: Columns = field(default_factory=Columns)
    frequency: Frequency | None = None
    calendar: bool = False
    known: tuple[tuple[float, float], ...] = ()
    past: tuple[tuple[float, float], ...] = ()

    @staticmethod
    def fitted(
        series: Sequence[Series],
        ends: Sequence[int],
        columns: Columns,
        frequency: Frequency | None,
        calendar: bool,
    ) -> Layout:
        """The layout of these series, of each of which the first ``ends`` values are training's."""
        known = np.concatenate([s.known[:end] for s, end in zip(series, ends, strict=True)])
        past = np.concatenate([s.past[:end] for s, end in zip(series, ends, strict=True)])
        calendar = calendar and frequency is not None
        return Layout(columns, frequency, calendar, _moments(known), _moments(past))

    @property
    def known_size(self) -> int:
        """K: the numbers that are known of a step ahead."""
        calendar = 0
        if self.frequency is not None and self.calendar:
            stamps = np.zeros(1, "int64" if self.frequency.unit == "steps" else "datetime64[s]")
            calendar = self.frequency.calendar(stamps).shape[1]
        return len(self.known) + calendar

    @property
    def past_size(self) -> int:
        """P: the numbers that are known of a past step only."""
        return len(self.past)

    def encode(self, series: Series, ahead: int = 0) -> Encoded:
        """A series whose last ``ahead`` forecast steps lie behind its end.

        Raises:
            DataError: where covariates or time stamps are missing, or the step is another.
        """
        n = len(series)
        if series.known.shape[1] != len(self.known) or series.past.shape[1] != len(self.past):
            raise DataError(
                f"{label(series.name)} has {series.known.shape[1]} known and "
                f"{series.past.shape[1]} past covariates, the model {len(self.known)} and "
                f"{len(self.past)}: give those that it was trained with"
            )
        if self.known and len(series.known) < n + ahead:
            raise DataError(
                f"{label(series.name)} has {', '.join(self.columns.known)} for "
                f"{len(series.known) - n} steps behind its end, and the forecast is of {ahead}: "
                "give what is known of each"
            )
        known = _standard(series.known[: n + ahead], self.known)
        if not self.known:
            known = np.zeros((n + ahead, 0), np.float32)
        if self.calendar and self.frequency is not None:
            known = np.concatenate([known, self._calendar(series, self.frequency, ahead)], 1)
        past = _standard(series.past, self.past)
        covariates = np.concatenate([past, known[:n]], 1)
        return Encoded(series.name, series.values, covariates, known, series.stamps)

    def _calendar(self, series: Series, frequency: Frequency, ahead: int) -> Floats:
        if series.stamps is None:
            raise DataError(
                f"{label(series.name)} has no time stamps, and the model was trained with the "
                "calendar: give them"
            )
        stamps = series.stamps[: len(series) + ahead]
        missing = len(series) + ahead - len(stamps)
        if missing:
            stamps = np.concatenate([stamps, frequency.after(stamps[-1:], missing)])
        return frequency.calendar(stamps)

    def check(self, frequency: Frequency | None) -> None:
        """Sees to it that other series have the same step.

        Raises:
            DataError: where they have another.
        """
        if self.frequency is not None and frequency is not None and frequency != self.frequency:
            raise DataError(
                f"the series' step is {frequency}, and the model was trained on {self.frequency}: "
                "resample them"
            )

    def to_dict(self) -> dict[str, object]:
        """As JSON can hold it."""
        return {**asdict(self), "frequency": to_dict(self.frequency)}

    @staticmethod
    def from_dict(values: Mapping[str, object]) -> Layout:
        """What ``to_dict`` gave, perhaps by JSON.

        Raises:
            DataError: where it is no such thing.
        """
        given = cast("Mapping[str, Any]", values)
        try:
            names = given["columns"]
            known, past = tuple(names["known"]), tuple(names["past"])
            return Layout(
                Columns(names["value"], names["time"], names["id"], known, past),
                from_dict(given["frequency"]),
                given["calendar"] is True,
                tuple((float(m), float(s)) for m, s in given["known"]),
                tuple((float(m), float(s)) for m, s in given["past"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"a forecaster's layout is not what was saved: {error}") from error


def _moments(columns: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    # One that never changed in training has no unit, and stays as far from its mean as it is.
    deviations = np.where(np.ptp(columns, 0) > 0, columns.std(0), 1.0)
    return tuple((float(m), float(s)) for m, s in zip(columns.mean(0), deviations, strict=True))


def _standard(columns: NDArray[np.float64], moments: tuple[tuple[float, float], ...]) -> Floats:
    means = np.array([m for m, _ in moments], np.float64)
    deviations = np.array([s for _, s in moments], np.float64)
    return ((columns - means) / deviations).astype(np.float32)
