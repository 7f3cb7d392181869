"""Rows: which format data is of, what is refused, and that they can be read again."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from row_files import found, rows_of, written
from unrolled.data.bad_rows import BadRows
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row
from unrolled.data.rows import READERS, Format, find_rows
from unrolled.errors import DataError


class Stdin:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.csv", "csv"),
        ("A.CSV.GZ", "csv"),
        ("a.tsv.gz", "tsv"),
        ("a.tab", "tsv"),
        ("a.jsonl", "jsonl"),
        ("a.ndjson", "jsonl"),
        ("a.conll", "conll"),
        ("a.conllu", "conll"),
        ("a.parquet", "parquet"),
        ("a.pq", "parquet"),
        ("a.txt", "lines"),
        ("a", "lines"),
        ("csv", "lines"),
    ],
)
def test_a_files_name_says_its_format(tmp_path: Path, name: str, format: Format):
    assert rows_of(written(tmp_path / name, "")).format == format


def test_the_caller_says_what_text_files_are(tmp_path: Path):
    written(tmp_path / "a.txt", "x\ty\n")
    assert rows_of(tmp_path, text="conll").format == "conll"
    assert rows_of(tmp_path, text="class-files").format == "class-files"
    assert rows_of(tmp_path, text="class-files", format="tsv").format == "tsv"


def test_rows_are_read_anew_each_time(tmp_path: Path):
    path = written(tmp_path / "a.csv", "a\n1\n2,3\n4\n")
    bad = BadRows(1)
    rows = rows_of(path, bad)
    assert found(rows) == found(rows) == [(2, {"a": "1"}), (4, {"a": "4"})]
    assert bad.count == 1


def test_standard_input_can_be_read_again(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", Stdin(b'{"text": "a"}\nb\n'))
    bad = BadRows(1)
    rows = find_rows("-", Reading(bad=bad), "jsonl")
    assert list(rows) == list(rows) == [Row("standard input", 1, {"text": "a"})]
    assert bad.lines() == [
        "standard input, line 2: the line is not JSON: Expecting value, column 1"
    ]


def test_standard_input_has_no_name(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", Stdin(b"a\n"))
    with pytest.raises(DataError) as caught:
        find_rows("-", Reading(), text="class-files")
    assert str(caught.value) == (
        "standard input has no name that tells its format: say it with --format, such as "
        "--format csv, or jsonl"
    )


def test_a_pipe_has_no_name(tmp_path: Path):
    path = tmp_path / "names"
    os.mkfifo(path)
    with ThreadPoolExecutor() as pool:
        refused: list[tuple[Format | None, str]] = [
            (None, "names has no name that tells its format: say it with --format, such as "),
            ("class-files", "names is no class-files: these are named after their classes"),
        ]
        for format, problem in refused:
            writing = pool.submit(path.write_bytes, b"a\n")
            with pytest.raises(DataError, match=problem):
                find_rows(str(path), Reading(), format, text="class-files")
            writing.result()


def test_standard_input_is_no_class(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", Stdin(b"a\n"))
    with pytest.raises(DataError) as caught:
        find_rows("-", Reading(), "class-files")
    assert str(caught.value) == (
        "standard input is no class-files: these are named after their classes"
    )


def test_files_of_two_formats_are_refused(tmp_path: Path):
    written(tmp_path / "a.csv", "a\n")
    written(tmp_path / "b.jsonl", "{}")
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}/a.csv is csv and {tmp_path}/b.jsonl is jsonl: name files of one format, "
        "choose among a folder's files with --pattern, or say with --format how all are written"
    )
    assert rows_of(tmp_path, pattern="*.csv").format == "csv"


def test_an_unknown_format_is_refused(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        rows_of(written(tmp_path / "a", ""), format="xml")
    assert str(caught.value) == f"there is no format 'xml': there are {', '.join(READERS)}"


def test_columns_that_a_format_cannot_have(tmp_path: Path):
    path = written(tmp_path / "a.txt", "x\n")
    with pytest.raises(DataError) as caught:
        rows_of(path, needed=("text", "label"))
    assert str(caught.value) == f"{path} has no column 'label': its columns are 'text'"


def test_data_without_a_row_is_refused(tmp_path: Path):
    path = written(tmp_path / "a.txt", "\n\n")
    with pytest.raises(DataError) as caught:
        list(rows_of(path))
    assert str(caught.value) == f"there is no row in {path}"
    paths = [written(tmp_path / f"{i}.jsonl", "x\n\nx") for i in range(5)]
    with pytest.raises(DataError) as caught:
        list(rows_of(paths, BadRows(10)))
    names = ", ".join(map(str, paths[:3]))
    assert str(caught.value) == f"there is no row in {names} and 2 more but 10 bad ones"


class TestFields:
    ROW = Row("a", 1, {"t": " x ", "n": 3, "b": True, "f": 0.5, "l": ["a", "b c"], "e": ""})

    def test_text(self):
        assert self.ROW.text("t") == " x "
        with pytest.raises(DataError) as caught:
            self.ROW.text("n")
        assert str(caught.value) == "the column 'n' is 3 where text is expected"

    def test_labels(self):
        assert [self.ROW.label(c) for c in "tnb"] == ["x", "3", "True"]
        for column, shown in (("f", "0.5"), ("e", "''"), ("l", "['a', 'b c']")):
            with pytest.raises(DataError) as caught:
                self.ROW.label(column)
            assert str(caught.value) == (
                f"the column {column!r} is {shown} where a label is expected: text or a whole "
                "number"
            )

    def test_items(self):
        assert self.ROW.items("l") == ["a", "b c"]
        assert Row("a", 1, {"t": " a  b\xa0c\td "}).items("t") == ["a", "b\xa0c", "d"]
        with pytest.raises(DataError) as caught:
            Row("a", 1, {"t": ["a", 1]}).items("t")
        assert str(caught.value) == (
            "the column 't' is ['a', 1] where items are expected: a list of texts, or one text "
            "that spaces separate"
        )

    def test_numbers(self):
        row = Row("a", 1, {"x": "1.5", "xs": "1 -2e3", "l": [1, 2.5]})
        assert (row.number("x"), row.numbers("xs"), row.numbers("l")) == (
            1.5,
            [1, -2000],
            [1, 2.5],
        )

    @pytest.mark.parametrize(
        ("value", "problem"),
        [
            ("one", "'one' where a number is expected"),
            ("", "'' where a number is expected"),
            (True, "True where a number is expected"),
            ([1], "[1] where a number is expected"),
            ("nan", "nan where a finite number is expected"),
            (float("inf"), "inf where a finite number is expected"),
            (10**400, f"{'1' + '0' * 36}... where a number is expected"),
        ],
    )
    def test_no_numbers(self, value: object, problem: str):
        with pytest.raises(DataError) as caught:
            Row("a", 1, {"x": value}).number("x")
        assert str(caught.value) == f"the column 'x' is {problem}"
        with pytest.raises(DataError) as caught:
            Row("a", 1, {"x": [0, value]}).numbers("x")
        assert str(caught.value) == f"the column 'x' is {problem}"

    def test_missing(self):
        row = Row("a", 1, {"a": 1, "b": None})
        for column, problem in (
            ("c", "there is no 'c': there are 'a', 'b'"),
            ("b", "the column 'b' has no value"),
        ):
            for read in (row.text, row.label, row.items, row.number, row.numbers):
                with pytest.raises(DataError) as caught:
                    read(column)
                assert str(caught.value) == problem
