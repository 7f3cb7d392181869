"""Regular time stamps: how they are read, which step they have, how they go on, and their calendar.

A step is a number of seconds, of months (a quarter has 3, a year 12), of business days, or of a
plain count.  Calendar features are sines and cosines of where a stamp stands in each cycle that the
step is shorter than, with as many harmonics as the table says: a month's place in the year is the
same in each year, whatever its days.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError

Stamps = NDArray[Any]
"""datetime64[s] ``[n]``, or int64 ``[n]`` where time is a plain count."""

Unit = Literal["seconds", "months", "business days", "steps"]

_MINUTE, _HOUR, _DAY, _WEEK = 60, 3600, 86400, 604800
_YEAR = 365.25 * _DAY
_MONDAY = np.datetime64("1970-01-05", "s")

# Name of a cycle, its seconds, and the harmonics that its features have.
_CYCLES = (("day", _DAY, 2), ("week", _WEEK, 3), ("year", _YEAR, 2))
# The season of a step that is shorter than it, the first that is.
_SEASONS = (_MINUTE, _DAY, _WEEK)
_NAMES = {_MINUTE: "minute", _HOUR: "hour", _DAY: "day", _WEEK: "week"}


@dataclass(frozen=True)
class Frequency:
    """The step from one stamp to the next.

    Attributes:
        count: How many units it has.
        unit: What is counted.
    """

    count: int
    unit: Unit

    def __str__(self) -> str:
        if self.unit != "seconds":
            if (self.count, self.unit) == (12, "months"):
                return "1 year"
            return f"{self.count} {self.unit.removesuffix('s') if self.count == 1 else self.unit}"
        for seconds in (_WEEK, _DAY, _HOUR, _MINUTE):
            if self.count % seconds == 0:
                n = self.count // seconds
                return f"{n} {_NAMES[seconds]}{'s' if n > 1 else ''}"
        return f"{self.count} second{'s' if self.count > 1 else ''}"

    @property
    def season(self) -> int:
        """How many steps the usual season has; 1 where there is none.

        A year of months or weeks, a week of days, a day of hours or minutes, a minute of seconds.
        """
        if self.unit == "months":
            return max(1, 12 // self.count)
        if self.unit == "business days":
            return 5
        if self.unit == "steps":
            return 1
        if self.count >= _WEEK:
            return max(1, round(_YEAR / self.count))
        return next(cycle // self.count for cycle in _SEASONS if self.count < cycle)

    def after(self, last: Stamps, n: int) -> Stamps:
        """The n stamps that follow ``last``, an array of one stamp: ``[n]``."""
        ahead = np.arange(1, n + 1)
        if self.unit == "steps":
            return last + self.count * ahead
        if self.unit == "seconds":
            return last + (self.count * ahead).astype("timedelta64[s]")
        if self.unit == "business days":
            return np.busday_offset(last.astype("datetime64[D]"), ahead).astype("datetime64[s]")
        return (last.astype("datetime64[M]") + self.count * ahead).astype("datetime64[s]")

    def calendar(self, stamps: Stamps) -> NDArray[np.float32]:
        """Where each stamp stands in the cycles of the calendar: float32 ``[n, features]``."""
        columns: list[NDArray[np.float64]] = []
        for phase, harmonics in self._phases(stamps):
            for k in range(1, harmonics + 1):
                columns += [np.sin(2 * np.pi * k * phase), np.cos(2 * np.pi * k * phase)]
        shape = (len(stamps), len(columns))
        return np.stack(columns, 1).astype(np.float32) if columns else np.zeros(shape, np.float32)

    def _phases(self, stamps: Stamps) -> list[tuple[NDArray[np.float64], int]]:
        if self.unit == "steps":
            return []
        if self.unit == "months":
            months = stamps.astype("datetime64[M]").astype(np.int64) % 12
            return [] if self.count % 12 == 0 else [(months / 12, 2)]
        seconds = _DAY if self.unit == "business days" else self.count
        since = (stamps - _MONDAY).astype(np.int64)
        starts = stamps.astype("datetime64[Y]").astype("datetime64[s]")
        places = {
            "day": since % _DAY / _DAY,
            "week": since % _WEEK / _WEEK,
            "year": (stamps - starts).astype(np.int64) / _YEAR,
        }
        return [(places[name], n) for name, cycle, n in _CYCLES if 2 * seconds <= cycle]


def read_stamps(values: Sequence[Any]) -> Stamps:
    """Stamps of text in ISO 8601, of dates, or of whole numbers: all years, or a plain count.

    Zones are taken to UTC.

    Raises:
        DataError: where one can't be read; the message says which, and it has the attribute
            ``place``.
    """
    numbers = [_whole(v) for v in values]
    if all(n is not None for n in numbers):
        counts = np.array(numbers, np.int64)
        if len(counts) and counts.min() >= 1000 and counts.max() < 3000:
            return (counts - 1970).astype("datetime64[Y]").astype("datetime64[s]")
        return counts
    return np.array([_stamp(v) for v in values], "datetime64[s]")


def _whole(value: Any) -> int | None:
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return int(value) if isinstance(value, str) and re.fullmatch(r"\s*-?\d+\s*", value) else None


def _stamp(value: Any) -> np.datetime64:
    if isinstance(value, np.datetime64):
        return value.astype("datetime64[s]")
    moment = value
    if isinstance(value, str):
        text = value.strip()
        if re.fullmatch(r"\d{4}-\d{2}", text):
            text += "-01"
        try:
            moment = datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
        except ValueError as error:
            raise _unreadable(value) from error
    if not isinstance(moment, datetime):
        if not isinstance(moment, date):
            raise _unreadable(value)
        moment = datetime(moment.year, moment.month, moment.day)
    if moment.tzinfo is not None:
        moment = moment.astimezone(timezone.utc).replace(tzinfo=None)
    return np.datetime64(moment, "s")


def _unreadable(value: Any) -> DataError:
    return DataError(
        f"the time {value!r} can't be read: expected ISO 8601, such as 2024-01-31 or "
        "2024-01-31T12:00, or a whole number"
    )


def infer(stamps: Stamps) -> tuple[Frequency, int | None]:
    """The step that most stamps have, and the place of the first that doesn't follow by it.

    Args:
        stamps: At least two, each later than the one before.

    Returns:
        The frequency; and None where all stamps are regular, else the place of the first stamp that
        comes another time after the one before it.
    """
    if stamps.dtype.kind == "i":
        return _usual(np.diff(stamps), "steps")
    options: list[tuple[Frequency, int | None]] = []
    days = stamps.astype("datetime64[D]")
    months = stamps.astype("datetime64[M]")
    on_days = bool((stamps == days).all())
    ends = bool((days + 1 == (months + 1).astype("datetime64[D]")).all())
    starts = stamps - months.astype("datetime64[s]")
    if ends or bool((starts == starts[0]).all()):
        options.append(_usual(np.diff(months.astype(np.int64)), "months"))
    # Behind months: three of 31 days are months all the same.
    options.append(_usual(np.diff(stamps).astype(np.int64), "seconds"))
    if on_days and bool(np.is_busday(days).all()):
        gaps = np.busday_count(days[:-1], days[1:])
        if gaps.min() == 1:
            options.append(_usual(gaps, "business days"))
    # Regular before irregular, then the one that holds for longest from the start.
    return max(options, key=lambda o: len(stamps) if o[1] is None else o[1])


def _usual(gaps: NDArray[Any], unit: Unit) -> tuple[Frequency, int | None]:
    sizes, counts = np.unique(gaps, return_counts=True)
    usual = int(sizes[counts.argmax()])
    others = np.flatnonzero(gaps != usual)
    return Frequency(usual, unit), int(others[0]) + 1 if len(others) else None


def to_dict(frequency: Frequency | None) -> dict[str, object] | None:
    """As JSON can hold it."""
    return None if frequency is None else {"count": frequency.count, "unit": frequency.unit}


def from_dict(values: object) -> Frequency | None:
    """What ``to_dict`` gave.

    Raises:
        DataError: where it is no such thing.
    """
    if values is None:
        return None
    given = cast("dict[str, Any]", values) if isinstance(values, dict) else {}
    count, unit = given.get("count"), given.get("unit")
    if type(count) is not int or count < 1 or unit is None or unit not in get_args(Unit):
        raise DataError(f"a frequency has a count and a unit, not {values!r}")
    return Frequency(count, unit)
