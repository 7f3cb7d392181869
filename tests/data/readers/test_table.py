"""CSV and TSV: quotes, line ends and numbers of lines; what is refused and what skipped."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_files import found, rows_of, written
from unrolled.data import corpus
from unrolled.data import lines as line_module
from unrolled.data.bad_rows import BadRows
from unrolled.data.readers import table
from unrolled.errors import DataError

OPEN = (
    "a quote opens in this row and is not closed as it should be: a field with quotes is written "
    'in quotes, with those in it twice ("say ""so""")'
)
FIELD = st.text(st.sampled_from('ab",; \n\té€'), min_size=1)


def test_a_header_and_rows(tmp_path: Path):
    path = written(tmp_path / "a.csv", '\ufefftext, label\r\n"a, b",x\r\n\r\nc,\r\n')
    assert found(rows_of(path)) == [
        (2, {"text": "a, b", "label": "x"}),
        (4, {"text": "c", "label": ""}),
    ]


def test_quotes_and_line_ends_within_fields_count_their_lines(tmp_path: Path):
    path = written(tmp_path / "a.csv.gz", 'a,b\n"1\n2\n\n3","x""y"\nlast,"\r\n"\n')
    assert found(rows_of(path)) == [
        (2, {"a": "1\n2\n\n3", "b": 'x"y'}),
        (6, {"a": "last", "b": "\n"}),
    ]


@given(
    st.lists(st.tuples(FIELD, FIELD), min_size=1),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    st.sampled_from([1, 5, 1 << 22]),
)
def test_what_pythons_writer_writes_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    records: list[tuple[str, str]],
    end: str,
    encoding: str,
    block: int,
):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator=end)
    writer.writerows([("x", "y")])
    begins: list[int] = []
    for record in records:
        begins.append(out.getvalue().count("\n") + 1)
        writer.writerow(record)
    path.write_bytes(out.getvalue().encode(encoding))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "_BLOCK", block)
        rows = found(rows_of(path, encoding="utf-8" if encoding == "utf-8-sig" else encoding))
    assert rows == [(n, {"x": x, "y": y}) for n, (x, y) in zip(begins, records, strict=True)]


def test_tsv_has_no_quotes(tmp_path: Path):
    path = written(tmp_path / "a.tsv", 'a\tb\n"x\ty"\n "\t,\n')
    assert found(rows_of(path)) == [(2, {"a": '"x', "b": 'y"'}), (3, {"a": ' "', "b": ","})]


def test_a_field_as_long_as_a_document(tmp_path: Path):
    text = "long " * 100_000
    path = written(tmp_path / "a.csv", f"text\n{text}\n")
    assert found(rows_of(path)) == [(2, {"text": text})]


def test_each_bad_row_is_counted_at_its_line(tmp_path: Path):
    content = (
        b'text,label\n1,a\n2\n"3\n3",b,c\n\xff4,d\n"5\n\xff",e\n\0,f\n"6"g,h\n"",i\n7, \n8,j\n'
    )
    path = written(tmp_path / "a.csv", content)
    bad = BadRows(8)
    assert found(rows_of(path, bad, needed=("label", "text"))) == [
        (2, {"text": "1", "label": "a"}),
        (13, {"text": "8", "label": "j"}),
    ]
    byte = "byte 0xff in column 1 is not UTF-8: give the file's encoding (latin-1?)"
    assert bad.lines() == [
        f"{path}, line 3: 1 field where the header has 2",
        f"{path}, line 4: 3 fields where the header has 2",
        f"{path}, line 6: {byte}",
        f"{path}, line 7: in line 8, {byte}",
        f"{path}, line 9: there is a NUL byte: the file is binary, or UTF-16 (give its encoding)",
        f"{path}, line 10: this is not how CSV is written: ',' expected after '\"'",
        f"{path}, line 11: the column 'text' is empty",
        f"{path}, line 12: the column 'label' is empty",
    ]


def test_a_return_amid_a_row_is_told_as_one(tmp_path: Path):
    path = written(tmp_path / "a.csv", b'a,b\r\n"1\r2",x\r\n3\r4,y\r\n"\n5"\r6,z\r\n7,u\r\n')
    bad = BadRows(3)
    assert found(rows_of(path, bad)) == [(2, {"a": "1\r2", "b": "x"}), (6, {"a": "7", "b": "u"})]
    told = (
        "a carriage return stands amid this row: a line ends with \\n or \\r\\n, and a field that "
        'holds a return is written in quotes ("a\\rb")'
    )
    assert bad.lines()[:2] == [f"{path}, line {n}: {told}" for n in (3, 4)]


@pytest.mark.parametrize("rest", ["", 'x,"closed"\n', 'x,"closed",\n', 'x,"a ""b"" c"\n'])
def test_a_quote_that_is_not_closed_costs_its_own_row(tmp_path: Path, rest: str):
    good = "".join(f"{i},good\n" for i in range(5))
    path = written(tmp_path / "a.csv", f'a,b\n{good}"open,bad\n{good}{rest}')
    bad = BadRows(2)
    rows = found(rows_of(path, bad))
    assert [values["a"] for _, values in rows if values["b"] == "good"] == [*"01234", *"01234"]
    assert [line for line, _ in rows][:10] == [2, 3, 4, 5, 6, 8, 9, 10, 11, 12]
    assert bad.lines()[0] == f"{path}, line 7: {OPEN}"


def test_a_quote_that_is_never_closed_is_found_before_the_memory_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(table, "MOST_LINES", 1000)
    path = written(tmp_path / "a.csv", 'a,b\n"open,bad\n' + "1,good\n" * 5000)
    bad = BadRows(1)
    assert [line for line, _ in found(rows_of(path, bad))] == list(range(3, 5003))
    assert bad.lines() == [f"{path}, line 2: {OPEN}"]


def test_a_record_of_too_many_lines_is_a_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(table, "MOST_LINES", 3)
    path = written(tmp_path / "a.csv", 'a,b\n"1\n1\n1",x\n"2\n2\n2\n2"\n3,x\n')
    bad = BadRows(4)
    assert [line for line, _ in found(rows_of(path, bad))] == [2, 9]
    assert bad.lines() == [
        f"{path}, line 5: {OPEN}",
        *(f"{path}, line {n}: 1 field where the header has 2" for n in (6, 7, 8)),
    ]


def test_a_line_that_is_too_long_is_a_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(line_module, "LONGEST", 10)
    path = written(tmp_path / "a.csv", "a,b\n1234567890,1\n2,x\n")
    bad = BadRows(1)
    assert found(rows_of(path, bad)) == [(3, {"a": "2", "b": "x"})]
    assert bad.lines() == [f"{path}, line 2: the line has more than 10 characters"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "{} is empty: its first line names the columns"),
        ("\n\n", "{} is empty: its first line names the columns"),
        ("text,label\n", "there is no row in {}"),
        ("a,a \nx,y\n", "{} has the column 'a' twice: give each column a name of its own"),
        (
            "text,lable\nx,y\n",
            "{} has no column 'label' (did you mean 'lable'?): its columns are 'text', 'lable'",
        ),
        ("x,y\n1,2\n", "{} has no column 'text': its columns are 'x', 'y'"),
        (
            b"text,label\xff\nx,y\n",
            "{}, line 1: byte 0xff in column 11 is not UTF-8: give the file's encoding (latin-1?)",
        ),
        ('"text,label\nx,y\n', "{}, line 1: " + OPEN),
        (
            "text,label\nx,y\nz\n",
            "{}, line 3: 1 field where the header has 2. Mend it, or skip bad rows with "
            "--skip-bad N",
        ),
    ],
)
def test_refused(tmp_path: Path, content: str | bytes, problem: str):
    path = written(tmp_path / "a.csv", content)
    with pytest.raises(DataError) as caught:
        list(rows_of(path, needed=("text", "label")))
    assert str(caught.value) == problem.replace("{}", str(path))


def test_each_file_has_a_header_of_its_own(tmp_path: Path):
    written(tmp_path / "1.csv", "a,b\n1,2\n")
    written(tmp_path / "2.csv", "b,a\n3,4\n")
    assert [v for _, v in found(rows_of(tmp_path))] == [{"a": "1", "b": "2"}, {"b": "3", "a": "4"}]
    written(tmp_path / "3.csv", "b\n3\n")
    with pytest.raises(DataError, match=r"3\.csv has no column 'a': its columns are 'b'"):
        list(rows_of(tmp_path, needed=("a",)))
