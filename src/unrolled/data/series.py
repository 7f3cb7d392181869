"""Time series from rows: by their id, in order of time, checked, so that nothing is guessed.

A row holds one value of one series at one time, and perhaps covariates.  Rows at a series' end that
have covariates and no value are its future: what is known of the steps to be forecast.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.frequency import Frequency, Stamps, infer, read_stamps
from unrolled.data.row import Row
from unrolled.errors import DataError

ONE = "the series"
"""What a series is called where there is no column of ids."""


TIMES = ("time", "date", "datetime", "timestamp", "ds")
"""What columns of time stamps are called."""


@dataclass(frozen=True)
class Columns:
    """Which columns mean what.

    Attributes:
        value: What is forecast; None takes the column called value, or the only one left.
        time: Time stamps; None takes the first of :data:`TIMES` that there is a column of.
        id: Which series a row is of; None takes the column called id, where there is one.
        known: Covariates that are known in the future, such as prices or holidays.
        past: Covariates that are known up to now only, such as the weather.
    """

    value: str | None = None
    time: str | None = None
    id: str | None = None
    known: tuple[str, ...] = ()
    past: tuple[str, ...] = ()

    def found_in(self, names: Sequence[str], file: object) -> Columns:
        """The same with each name settled, for a file with these columns.

        Raises:
            DataError: where a column is missing, is to serve twice, or none is the value's.
        """
        time = self.time or next((name for name in TIMES if name in names), None)
        series = self.id or ("id" if "id" in names else None)
        others = [c for c in (time, series, *self.known, *self.past) if c is not None]
        left = [name for name in names if name not in others]
        value = self.value or ("value" if "value" in left or len(left) != 1 else left[0])
        wanted = [value, *others]
        for name in wanted:
            if name not in names:
                raise DataError(f"{file} has no column {name!r}: it has {', '.join(names)}")
            if wanted.count(name) > 1:
                raise DataError(f"the column {name!r} is named twice: each serves one purpose")
        return Columns(value, time, series, self.known, self.past)


@dataclass(frozen=True, eq=False)
class Series:
    """One series.

    Attributes:
        name: Its id.
        values: float64 ``[n]``, all finite.
        known: Covariates known in the future, float64 ``[n + f, K]``: f steps more than values.
        past: Covariates known up to now, float64 ``[n, P]``.
        stamps: When each value is, and the f future ones: ``[n + f]``; None where there is no time.
    """

    name: str
    values: NDArray[np.float64]
    known: NDArray[np.float64]
    past: NDArray[np.float64]
    stamps: Stamps | None = None

    def __len__(self) -> int:
        return len(self.values)


class _Gathered:
    """The rows of one series as they come."""

    def __init__(self) -> None:
        self.places: list[tuple[Any, int]] = []
        self.times: list[Any] = []
        self.numbers = array("d")


def read_series(rows: Iterable[Row], columns: Columns) -> tuple[list[Series], Columns]:
    """The series of these rows, in the order of their first row, and which columns they are of.

    Rows of one series may stand in any order where there are time stamps.

    Raises:
        DataError: where a column is missing, a number or a time can't be read, a value is missing
            inside a series, or a time comes twice.
    """
    gathered: dict[str, _Gathered] = {}
    settled: Columns | None = None
    file: Any = None
    for row in rows:
        if settled is None or row.file != file:
            file = row.file
            found = columns.found_in(list(row.values), file)
            if settled is not None and found != settled:
                raise DataError(f"{file} has other columns than the files before it")
            settled = found
        name = ONE
        if settled.id is not None:
            given = row.values.get(settled.id)
            name = "" if given is None else str(given).strip()
            if not name:
                raise DataError(f"{row.file}, line {row.line}: {settled.id} is empty")
        if name not in gathered:
            gathered[name] = _Gathered()
        series = gathered[name]
        series.places.append((row.file, row.line))
        series.times.append(None if settled.time is None else row.values.get(settled.time))
        series.numbers.extend(_number(row, column) for column in _numeric(settled))
    if settled is None:
        raise DataError("there are no rows: a series needs values")
    return [_series(name, g, settled) for name, g in gathered.items()], settled


def _number(row: Row, column: str) -> float:
    """A finite number, or NaN where there is none."""
    value = row.values.get(column)
    if value is None or (isinstance(value, str) and value.strip().lower() in ("", "nan", "na")):
        return math.nan
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{row.file}, line {row.line}: {column} is {value!r}, no number") from error
    if math.isinf(number):
        raise DataError(f"{row.file}, line {row.line}: {column} is {value!r}, not finite")
    return number


def _numeric(columns: Columns) -> tuple[str, ...]:
    return (columns.value or "", *columns.known, *columns.past)


def _series(name: str, gathered: _Gathered, columns: Columns) -> Series:
    names = _numeric(columns)
    numbers = np.array(gathered.numbers).reshape(-1, len(names))
    places, stamps = gathered.places, None
    if columns.time is not None:
        stamps = _stamps(gathered)
        order = np.argsort(stamps, kind="stable")
        stamps, numbers, places = stamps[order], numbers[order], [places[i] for i in order]
        twice = np.flatnonzero(stamps[1:] == stamps[:-1])
        if len(twice):
            at = int(twice[0])
            raise DataError(
                f"{_place(places[at + 1])}: {label(name)} has the time {show(stamps[at])} twice, "
                f"first in line {places[at][1]}; keep one of them"
            )
    given = np.flatnonzero(~np.isnan(numbers[:, 0]))
    n, n_known = int(given[-1]) + 1 if len(given) else 0, len(columns.known)
    if not n_known or n == 0:
        n = len(numbers)  # no future is known: what is missing at the end is missing
    for i, column in enumerate(names):
        until = len(numbers) if 1 <= i <= n_known else n
        missing = np.flatnonzero(np.isnan(numbers[:until, i]))
        if len(missing):
            at = int(missing[0])
            when = f" at {show(stamps[at])}" if stamps is not None else ""
            more = f", and {len(missing) - 1} more are missing" if len(missing) > 1 else ""
            raise DataError(
                f"{_place(places[at])}: {label(name)} has no {column}{when}{more}; fill it in"
            )
    known, past = numbers[:, 1 : 1 + n_known], numbers[:n, 1 + n_known :]
    return Series(name, numbers[:n, 0].copy(), known.copy(), past.copy(), stamps)


def _stamps(gathered: _Gathered) -> Stamps:
    try:
        return read_stamps(gathered.times)
    except DataError:
        # Which of them it is, only looked for where one is wrong.
        for place, time in zip(gathered.places, gathered.times, strict=True):
            try:
                read_stamps([time])
            except DataError as error:
                raise DataError(f"{_place(place)}: {error}") from error
        raise DataError(
            f"{gathered.places[0][0]}: times are whole numbers in some lines and dates in others"
        ) from None


def frequency(series: Sequence[Series]) -> Frequency | None:
    """The step that the stamps of all have, or None where there are none.

    Raises:
        DataError: where a series is not regular, or they differ.
    """
    found: Frequency | None = None
    first = ""
    for one in series:
        if one.stamps is None or len(one.stamps) < 2:
            continue
        step, wrong = infer(one.stamps)
        if wrong is not None:
            before, after = show(one.stamps[wrong - 1]), show(one.stamps[wrong])
            raise DataError(
                f"the time stamps of {label(one.name)} are not regular: the usual step is {step}, "
                f"but {after} follows {before}; resample the series, or fill in what is missing"
            )
        if found is not None and step != found:
            raise DataError(
                f"the series have different steps: {label(first)} {found}, {label(one.name)} "
                f"{step}; train a model for each"
            )
        if found is None:
            found, first = step, one.name
    return found


def label(name: str) -> str:
    """A series in a message."""
    return name if name == ONE else f"series {name!r}"


def show(stamp: Any) -> str:
    """A time stamp in a message; a day without its midnight."""
    return str(stamp).removesuffix("T00:00:00")


def _place(place: tuple[Any, int]) -> str:
    return f"{place[0]}, line {place[1]}"
