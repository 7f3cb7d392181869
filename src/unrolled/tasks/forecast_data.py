"""The data of a forecaster: which series, which part of each is for what, and their windows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from unrolled.data.bad_rows import BadRows
from unrolled.data.readers.reading import Reading
from unrolled.data.rows import Format, find_rows
from unrolled.data.series import Columns, Series, label, read_series
from unrolled.data.series_layout import Layout
from unrolled.data.series_windows import Windows, origins
from unrolled.errors import DataError
from unrolled.models.forecaster_config import ForecasterConfig
from unrolled.models.scaling import least_past


@dataclass(frozen=True)
class ForecastData:
    """How series are read and divided.

    Attributes:
        validation: A file of its own, the last part of whose series validates; by default the last
            part before the data's test part does.
        test: A file of its own, the last part of whose series is the test; by default the data's.
        validation_fraction: The share of a series, without its test part, that validates.
        test_fraction: The share of a series, its end, that the report is made on.
        time: The column of time stamps; by default the one called time, date, datetime, timestamp
            or ds, where there is one.
        value: The column to forecast; by default the one called value, or the only one left.
        id: The column that says which series a row is of; by default the one called id, where there
            is one.
        known: Columns that are known in the future.
        past: Columns that are known up to now only.
        calendar: Whether the model reads the calendar of the time stamps.
        stride: Steps from one origin of the report to the next.
        smoothing: Whether the report compares with exponential smoothing, fitted anew at each
            origin; this needs the extra forecast.
        skip_bad: So many series that can't be used are left out, and said; more are an error.
        format: How the files are written; by default as their names say, and as a number a line
            where they say nothing.
        encoding: How text is encoded.
    """

    validation: str | None = None
    test: str | None = None
    validation_fraction: float = 0.2
    test_fraction: float = 0.2
    time: str | None = None
    value: str | None = None
    id: str | None = None
    known: tuple[str, ...] = ()
    past: tuple[str, ...] = ()
    calendar: bool = True
    stride: int = 1
    smoothing: bool = True
    skip_bad: int = 0
    format: Format | None = None
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        for name in ("validation_fraction", "test_fraction"):
            if not 0 <= getattr(self, name) < 1:
                raise DataError(f"{name} is at least 0 and below 1, not {getattr(self, name)}")
        for name, least in (("stride", 1), ("skip_bad", 0)):
            if getattr(self, name) < least:
                raise DataError(f"{name} is at least {least}, not {getattr(self, name)}")

    @property
    def columns(self) -> Columns:
        """The columns as they are named."""
        return Columns(self.value, self.time, self.id, tuple(self.known), tuple(self.past))


@dataclass(frozen=True)
class Parts:
    """The parts of a series, in order of time.

    Attributes:
        training: Where the training part ends and the one that validates begins.
        validation: Where that ends and the test part begins, which ends with the series.
    """

    training: int
    validation: int

    @staticmethod
    def of(n: int, data: ForecastData) -> Parts:
        """The parts of n values; one that has a file of its own is empty."""
        validation = n - (0 if data.test else round(n * data.test_fraction))
        held = 0 if data.validation else round(validation * data.validation_fraction)
        return Parts(validation - held, validation)


def read(
    words: Sequence[str], data: ForecastData, columns: Columns
) -> tuple[list[Series], Columns]:
    """The series of what a user names, and their columns.

    Raises:
        DataError: where they can't be read (``data/series.py``).
    """
    # No row is skipped: it would leave a hole in its series.
    reading = Reading(encoding=data.encoding, bad=BadRows(0))
    return read_series(find_rows(list(words), reading, data.format), columns)


def usable(
    series: Sequence[Series], skip_bad: int, problem: Callable[[Series], str | None]
) -> tuple[list[Series], list[str]]:
    """The series without those that have a problem, and a line for each of these.

    Raises:
        DataError: where more have one than may be left out, or none remains.
    """
    problems = {one.name: found for one in series if (found := problem(one)) is not None}
    first = next(iter(problems.values()), "")
    if len(problems) > skip_bad:
        others = f"; {len(problems) - 1:,} more can't be used" if len(problems) > 1 else ""
        raise DataError(first + others)
    left = [one for one in series if one.name not in problems]
    if not left:
        raise DataError(f"no series can be used: {first}")
    return left, [f"left out: {found}" for found in problems.values()]


def least_training(config: ForecasterConfig) -> int:
    """The fewest values before a training window's target: a season, or what the scaling needs."""
    return max(least_past(config.scaling, config.season), config.season)


def problem_in_training(one: Series, data: ForecastData, config: ForecasterConfig) -> str | None:
    """Why a series can't be learned from, or None."""
    n, parts, least = len(one), Parts.of(len(one), data), least_training(config)
    needed = least + config.horizon
    held = {"validation": parts.validation - parts.training, "test": n - parts.validation}
    if parts.training < needed:
        return (
            f"{label(one.name)} is too short: {parts.training} of its {n} values are for training, "
            f"and a past of {least} with a horizon of {config.horizon} needs {needed}"
        )
    for part, size in held.items():
        if 0 < size < config.horizon:
            return (
                f"{label(one.name)} is too short: its {part} part has {size} of its {n} values and "
                f"the horizon is {config.horizon}: take a shorter horizon or a larger fraction"
            )
    return _constant(one, parts.training)


def problem_in_evaluation(one: Series, fraction: float, config: ForecasterConfig) -> str | None:
    """Why a series can't be judged on its last part, or None."""
    n = len(one)
    held = round(n * fraction)
    needed = max(least_past(config.scaling, config.season), config.season + 1)
    if held < config.horizon or n - held < needed:
        return (
            f"{label(one.name)} is too short: {held} of its {n} values are held out and "
            f"{n - held} stand before them, and {config.horizon} and {needed} are needed"
        )
    return _constant(one, n - held)


def _constant(one: Series, end: int) -> str | None:
    if np.ptp(one.values[:end]) > 0:
        return None
    return (
        f"{label(one.name)} is constant: its first {end} values are all {one.values[0]:g}, which "
        "leaves nothing to learn; leave it out"
    )


def windows(
    series: Sequence[Series],
    layout: Layout,
    config: ForecasterConfig,
    parts: Sequence[tuple[int, int]],
    stride: int = 1,
) -> Windows:
    """The windows whose targets lie within a part of each series.

    Args:
        series: The series.
        layout: How they are encoded.
        config: Context and horizon.
        parts: Where each one's part begins and ends.
        stride: Steps from one origin to the next.
    """
    ranges = [range(begin, end - config.horizon + 1, stride) for begin, end in parts]
    encoded = [layout.encode(one) for one in series]
    return Windows(encoded, origins(ranges), config.context, config.horizon)
