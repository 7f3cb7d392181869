"""Time stamps: how they are read, their step, their season, how they go on, their calendar."""

from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest

from unrolled.data.frequency import Frequency, from_dict, infer, read_stamps, to_dict
from unrolled.errors import DataError

# pandas' name of a frequency; ours, its season, and how it is said.
CASES: list[tuple[str, Frequency, int, str]] = [
    ("YS", Frequency(12, "months"), 1, "1 year"),
    ("YE", Frequency(12, "months"), 1, "1 year"),
    ("QS", Frequency(3, "months"), 4, "3 months"),
    ("MS", Frequency(1, "months"), 12, "1 month"),
    ("ME", Frequency(1, "months"), 12, "1 month"),
    ("W", Frequency(604800, "seconds"), 52, "1 week"),
    ("D", Frequency(86400, "seconds"), 7, "1 day"),
    ("2D", Frequency(172800, "seconds"), 3, "2 days"),
    ("B", Frequency(1, "business days"), 5, "1 business day"),
    ("h", Frequency(3600, "seconds"), 24, "1 hour"),
    ("30min", Frequency(1800, "seconds"), 48, "30 minutes"),
    ("5s", Frequency(5, "seconds"), 12, "5 seconds"),
]


def range_of(name: str, n: int = 40) -> np.ndarray[Any, Any]:
    return pd.date_range("2019-02-01", periods=n, freq=name).to_numpy().astype("datetime64[s]")


@pytest.mark.parametrize(("name", "expected", "season", "words"), CASES, ids=lambda c: str(c))
def test_the_step_is_found_as_pandas_made_it(
    name: str, expected: Frequency, season: int, words: str
):
    found, wrong = infer(range_of(name))
    assert (found, wrong) == (expected, None)
    assert found.season == season
    assert str(found) == words
    assert from_dict(to_dict(found)) == found


@pytest.mark.parametrize("name", ["YS", "QS", "MS", "W", "D", "B", "h", "30min", "5s"])
def test_stamps_go_on_as_pandas_has_them(name: str):
    whole = range_of(name, 60)
    step, _ = infer(whole[:40])
    np.testing.assert_array_equal(step.after(whole[39:40], 20), whole[40:])


def test_month_ends_go_on_by_months():
    whole = range_of("ME", 30)
    step, _ = infer(whole[:20])
    after = step.after(whole[19:20], 10)
    np.testing.assert_array_equal(after.astype("datetime64[M]"), whole[20:].astype("datetime64[M]"))


@pytest.mark.parametrize("name", [case[0] for case in CASES])
@pytest.mark.parametrize("gap", [1, 7, 38])
def test_the_first_stamp_that_does_not_follow_is_named(name: str, gap: int):
    stamps = np.delete(range_of(name), gap)
    _, wrong = infer(stamps)
    assert wrong == gap


def test_counts_have_steps():
    assert infer(np.arange(3, 40, 4)) == (Frequency(4, "steps"), None)
    assert infer(np.array([0, 1, 2, 4, 5])) == (Frequency(1, "steps"), 3)
    step = Frequency(4, "steps")
    assert step.after(np.array([39]), 2).tolist() == [43, 47]
    assert (step.season, str(step), str(Frequency(1, "steps"))) == (1, "4 steps", "1 step")
    assert step.calendar(np.arange(5)).shape == (5, 0)


def test_stamps_are_read():
    def first(value: Any) -> str:
        return str(read_stamps([value, "2020-01-01"])[0])

    assert first("2024-02") == "2024-02-01T00:00:00"
    assert first(" 2024-02-29 ") == "2024-02-29T00:00:00"
    assert first("2024-02-29T13:30") == "2024-02-29T13:30:00"
    assert first("2024-02-29 13:30:05") == "2024-02-29T13:30:05"
    assert first("2024-02-29T13:30:00Z") == "2024-02-29T13:30:00"
    assert first("2024-02-29T13:30:00+02:00") == "2024-02-29T11:30:00"
    assert first(date(2024, 2, 29)) == "2024-02-29T00:00:00"
    assert first(datetime(2024, 2, 29, 1)) == "2024-02-29T01:00:00"
    assert first(np.datetime64("2024-02-29")) == "2024-02-29T00:00:00"
    assert first(pd.Timestamp("2024-02-29")) == "2024-02-29T00:00:00"


def test_whole_numbers_are_years_or_a_count():
    assert read_stamps(["1700", "1701"]).astype(str).tolist() == [
        "1700-01-01T00:00:00",
        "1701-01-01T00:00:00",
    ]
    assert read_stamps([1700.0, 1701]).dtype == "datetime64[s]"
    assert read_stamps(["0", " 1", "2"]).tolist() == [0, 1, 2]
    assert read_stamps([-1, 1700]).dtype == np.int64


@pytest.mark.parametrize("value", ["31.1.2024", "", "2024-02-30", None, 1.5, True, "nan"])
def test_other_stamps_are_refused(value: Any):
    with pytest.raises(DataError) as caught:
        read_stamps([value])
    assert str(caught.value) == (
        f"the time {value!r} can't be read: expected ISO 8601, such as 2024-01-31 or "
        "2024-01-31T12:00, or a whole number"
    )


def test_months_have_the_year_as_their_calendar():
    stamps = range_of("MS", 24)
    angle = 2 * np.pi * ((np.arange(24) + 1) % 12) / 12
    expected = np.stack([np.sin(angle), np.cos(angle), np.sin(2 * angle), np.cos(2 * angle)], 1)
    np.testing.assert_allclose(Frequency(1, "months").calendar(stamps), expected, atol=1e-7)
    assert Frequency(12, "months").calendar(stamps).shape == (24, 0)


def test_hours_have_day_week_and_year():
    features = Frequency(3600, "seconds").calendar(np.array(["2024-01-01T06"], "datetime64[s]"))
    quarter_day = [1, 0, 0, -1]
    assert features.shape == (1, 14)
    np.testing.assert_allclose(features[0, :4], quarter_day, atol=1e-6)
    angle = 2 * np.pi * 0.25 / 7  # a Monday, a quarter of it gone
    np.testing.assert_allclose(features[0, 4:6], [np.sin(angle), np.cos(angle)], atol=1e-6)


def test_days_have_no_place_in_the_day_and_weeks_none_in_the_week():
    one = np.array(["2024-01-01"], "datetime64[s]")
    sizes = [Frequency(n, "seconds").calendar(one).shape[1] for n in (86400, 604800, 43200)]
    assert sizes == [10, 4, 14]
    assert Frequency(1, "business days").calendar(one).shape[1] == 10


@pytest.mark.parametrize("values", [{}, {"count": 0, "unit": "months"}, {"count": 1}, 3])
def test_what_is_no_frequency_is_refused(values: Any):
    with pytest.raises(DataError, match="a frequency has a count and a unit, not"):
        from_dict(values)
