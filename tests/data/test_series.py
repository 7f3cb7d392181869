"""Series from rows: their order, their columns, and what is refused, in one line each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.data.frequency import Frequency
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row
from unrolled.data.rows import find_rows
from unrolled.data.series import TIMES, Columns, Series, frequency, read_series
from unrolled.errors import DataError


def rows(header: str, *lines: str, file: str = "a.csv") -> list[Row]:
    names = header.split(",")
    return [
        Row(file, i, dict(zip(names, line.split(","), strict=True)))
        for i, line in enumerate(lines, 2)
    ]


def refused(given: Sequence[Row], columns: Columns | None = None) -> str:
    with pytest.raises(DataError) as caught:
        frequency(read_series(given, columns or Columns())[0])
    return str(caught.value)


def test_series_are_told_apart_and_put_in_order_of_time():
    given = rows(
        "id,time,value",
        "b,2020-01-02,5",
        "a,2020-01-03,3",
        "b,2020-01-01,4",
        "a,2020-01-01,1",
        "a,2020-01-02,2",
    )
    found, columns = read_series(given, Columns())
    assert columns == Columns("value", "time", "id")
    assert [one.name for one in found] == ["b", "a"]
    assert found[0].values.tolist() == [4, 5]
    assert found[1].values.tolist() == [1, 2, 3]
    assert found[1].stamps is not None
    assert found[1].stamps.astype("datetime64[D]").astype(str).tolist() == [
        "2020-01-01",
        "2020-01-02",
        "2020-01-03",
    ]
    assert frequency(found) == Frequency(86400, "seconds")


@pytest.mark.parametrize("name", TIMES)
def test_time_stamps_are_found_by_what_their_column_is_called(name: str):
    given = rows(f"{name},value", "2020-01-02,5", "2020-01-01,4")
    found, columns = read_series(given, Columns())
    assert columns == Columns("value", name)
    assert found[0].values.tolist() == [4, 5]


def test_rows_without_times_keep_their_order():
    found, columns = read_series(rows("sales", "3", "1", "2"), Columns())
    assert columns == Columns("sales")
    assert found[0].values.tolist() == [3, 1, 2]
    assert (found[0].stamps, frequency(found)) == (None, None)


def test_covariates_go_on_where_the_values_end():
    given = rows(
        "time,value,price,rain", "1,5,0.5,7", "2,6,0.25,8", "3,,0.5,", "4,,1,", file="b.csv"
    )
    (found,), _ = read_series(given, Columns(known=("price",), past=("rain",)))
    assert found.values.tolist() == [5, 6]
    assert found.known.tolist() == [[0.5], [0.25], [0.5], [1]]
    assert found.past.tolist() == [[7], [8]]
    assert found.stamps is not None
    assert found.stamps.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet", "txt"])
def test_each_format_gives_the_same_series(tmp_path: Path, suffix: str):
    import pandas as pd

    frame = pd.DataFrame({"time": ["2020-01", "2020-02", "2020-03"], "value": [1.5, -2.0, 1e-3]})
    path = tmp_path / f"a.{suffix}"
    if suffix in ("csv", "tsv"):
        frame.to_csv(path, index=False, sep="," if suffix == "csv" else "\t")
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif suffix == "parquet":
        frame.assign(time=pd.to_datetime(frame.time)).to_parquet(path)
    else:
        path.write_text("1.5\n-2\n0.001\n")
    (found,), columns = read_series(find_rows(str(path), Reading()), Columns())
    assert found.values.tolist() == [1.5, -2.0, 1e-3]
    assert columns == (Columns("text") if suffix == "txt" else Columns("value", "time"))
    assert frequency([found]) == (None if suffix == "txt" else Frequency(1, "months"))


BAD: list[tuple[list[Row], Columns, str]] = [
    (
        rows("time,value", "1,5", "2,x"),
        Columns(),
        "a.csv, line 3: value is 'x', no number",
    ),
    (
        rows("time,value", "1,inf"),
        Columns(),
        "a.csv, line 2: value is 'inf', not finite",
    ),
    (
        rows("time,value", "1,5", "2,", "3,NaN", "4,6"),
        Columns(),
        "a.csv, line 3: the series has no value at 2, and 1 more are missing; fill it in",
    ),
    (
        rows("value,promo", "1,5", "2,"),
        Columns(past=("promo",)),
        "a.csv, line 3: the series has no promo; fill it in",
    ),
    (
        rows("id,time,value,promo", "x,2020-01-01,5,1", "x,2020-01-02,,"),
        Columns(known=("promo",)),
        "a.csv, line 3: series 'x' has no promo at 2020-01-02; fill it in",
    ),
    (
        rows("id,time,value", "x,2020-01-01,5", "x,2020-01-02,6", "x,2020-01-01,7"),
        Columns(),
        "a.csv, line 4: series 'x' has the time 2020-01-01 twice, first in line 2; keep one of "
        "them",
    ),
    (
        rows("time,value", "2020-01-01,5", "2020-13-01,6"),
        Columns(),
        "a.csv, line 3: the time '2020-13-01' can't be read: expected ISO 8601, such as 2024-01-31 "
        "or 2024-01-31T12:00, or a whole number",
    ),
    (
        rows("time,value", "1,5", "2020-01-01,6"),
        Columns(),
        "a.csv: times are whole numbers in some lines and dates in others",
    ),
    (
        rows("time,value", "2020-01-01,5", "2020-01-02,6", "2020-01-03,6", "2020-01-05T12:00,7"),
        Columns(),
        "the time stamps of the series are not regular: the usual step is 1 day, but "
        "2020-01-05T12:00:00 follows 2020-01-03; resample the series, or fill in what is missing",
    ),
    (
        rows(
            "id,time,value",
            *("x,2020-01-01,5", "x,2020-01-02,6", "y,2020-01-01,6", "y,2020-01-08,7"),
        ),
        Columns(),
        "the series have different steps: series 'x' 1 day, series 'y' 1 week; train a model for "
        "each",
    ),
    (
        rows("time,value", "1,5"),
        Columns(known=("promo",)),
        "a.csv has no column 'promo': it has time, value",
    ),
    (
        rows("time,value", "1,5"),
        Columns(value="value", past=("value",)),
        "the column 'value' is named twice: each serves one purpose",
    ),
    (
        rows("time,a,b", "1,5,6"),
        Columns(),
        "a.csv has no column 'value': it has time, a, b",
    ),
    (
        [*rows("time,value", "1,5"), *rows("time,id,value", "2,x,5", file="b.csv")],
        Columns(),
        "b.csv has other columns than the files before it",
    ),
    (rows("id,value", "a,5", ",6"), Columns(), "a.csv, line 3: id is empty"),
    ([], Columns(), "there are no rows: a series needs values"),
]


@pytest.mark.parametrize(("given", "columns", "problem"), BAD, ids=[b[2][:40] for b in BAD])
def test_what_is_wrong_is_said_in_a_line(given: list[Row], columns: Columns, problem: str):
    assert refused(given, columns) == problem


def test_a_missing_value_at_the_end_is_no_future_where_nothing_is_known_of_it():
    assert refused(rows("time,value", "1,5", "2,")) == (
        "a.csv, line 3: the series has no value at 2; fill it in"
    )


@pytest.mark.parametrize("value", [None, float("nan"), "", " NA ", "nan"])
def test_what_counts_as_missing(value: Any):
    given = [Row("a.jsonl", 1, {"value": 1}), Row("a.jsonl", 2, {"value": value})]
    assert refused(given) == "a.jsonl, line 2: the series has no value; fill it in"


def test_numbers_come_through_as_they_are():
    given = [Row("a.jsonl", i, {"value": v}) for i, v in enumerate((1, 2.5, "3e2", np.float32(4)))]
    (found,), _ = read_series(given, Columns())
    assert found.values.tolist() == [1, 2.5, 300, 4]
    assert found.values.dtype == np.float64
    assert isinstance(found, Series)
    assert len(found) == 4
