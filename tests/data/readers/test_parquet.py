"""Parquet: values come back row by row, by row groups; what is damaged is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from row_files import found, rows_of, written
from unrolled.data.bad_rows import BadRows
from unrolled.errors import DataError

pa: Any = pytest.importorskip("pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet")


def table(path: Path, columns: dict[str, list[Any]], rows: int = 1000) -> Path:
    pq.write_table(pa.table(columns), path, row_group_size=rows)
    return path


@pytest.mark.parametrize("rows", [1, 3, 1000, 5000])
def test_rows_over_row_groups(tmp_path: Path, rows: int):
    texts = [f"text {i}" for i in range(2500)]
    numbers = [[float(i)] * (i % 4) for i in range(2500)]
    path = table(tmp_path / "a.parquet", {"text": texts, "x": numbers}, rows)
    assert found(rows_of(path)) == [
        (i + 1, {"text": text, "x": x})
        for i, (text, x) in enumerate(zip(texts, numbers, strict=True))
    ]


def test_only_needed_columns_are_read(tmp_path: Path):
    path = table(tmp_path / "a.pq", {"text": ["a"], "label": [3], "other": [None]})
    assert found(rows_of(path, needed=("label", "text"))) == [(1, {"label": 3, "text": "a"})]


def test_rows_without_a_value_are_bad(tmp_path: Path):
    path = table(tmp_path / "a.parquet", {"text": ["a", None, "", "b"]})
    bad = BadRows(2)
    assert [line for line, _ in found(rows_of(path, bad, needed=("text",)))] == [1, 4]
    assert bad.lines() == [
        f"{path}, line 2: the column 'text' has no value",
        f"{path}, line 3: the column 'text' is empty",
    ]


def test_columns_are_checked(tmp_path: Path):
    path = table(tmp_path / "a.parquet", {"text": ["a"]})
    with pytest.raises(DataError, match=r"a\.parquet has no column 'label': its columns are 'tex"):
        list(rows_of(path, needed=("text", "label")))


def test_damaged_files_are_refused(tmp_path: Path):
    path = table(tmp_path / "a.parquet", {"text": ["some text"] * 1000})
    with pytest.raises(DataError, match=r"^can't read .*b\.parquet as Parquet: "):
        list(rows_of(written(tmp_path / "b.parquet", b"no such thing")))
    with pytest.raises(DataError, match=r"^can't read .*c\.parquet as Parquet: "):
        list(rows_of(written(tmp_path / "c.parquet", path.read_bytes()[:-100])))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path):
    path = table(tmp_path / "a.parquet", {"text": ["a"]})
    script = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from unrolled.data.readers.reading import Reading\n"
        "from unrolled.data.rows import find_rows\n"
        f"try: list(find_rows({str(path)!r}, Reading()))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout == (
        "DataError Parquet files need pyarrow, which is not installed: "
        "pip install 'unrolled[parquet]'\n"
    )
