"""JSON lines: objects come back, all else is said of its line."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_files import found, rows_of, written
from unrolled.data.bad_rows import BadRows
from unrolled.errors import DataError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(TEXT, VALUE), min_size=1), st.booleans())
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory, objects: list[dict[str, object]], ascii: bool
):
    path = tmp_path_factory.mktemp("json") / "a.jsonl"
    lines = [json.dumps(value, ensure_ascii=ascii) for value in objects]
    path.write_bytes("\n\n".join(lines).encode())
    assert found(rows_of(path)) == [(1 + 2 * i, value) for i, value in enumerate(objects)]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b'{"a": 1', "the line is not JSON: Expecting ',' delimiter, column 8"),
        (b"text", "the line is not JSON: Expecting value, column 1"),
        (
            b"[1, 2]",
            'the line is a list where an object is expected, such as {"text": "…", "label": "…"}',
        ),
        (
            b"1.5",
            'the line is a number where an object is expected, such as {"text": "…", "label": "…"}',
        ),
        (b'{"text": "x", "text": "y"}', "the object has the key 'text' twice"),
        (b'{"label": "x"}', "there is no 'text': there are 'label'"),
        (b"{}", "there is no 'text': there are none"),
        (b'{"text": null}', "the column 'text' has no value"),
        (b'{"text": " "}', "the column 'text' is empty"),
        (b'{"text": []}', "the column 'text' is empty"),
        (
            b'{"text": "\\uD83d"}',
            "the line spells half of a surrogate pair, which is no character",
        ),
        (
            b'{"text": "\xff"}',
            "byte 0xff in column 11 is not UTF-8: give the file's encoding (latin-1?)",
        ),
    ],
)
def test_a_bad_line(tmp_path: Path, line: bytes, problem: str):
    path = written(tmp_path / "a.jsonl.gz", b'{"text": "\\uD83D\\uDE00"}\n' + line + b"\n")
    bad = BadRows(1)
    assert found(rows_of(path, bad, needed=("text",))) == [(1, {"text": "😀"})]
    assert bad.lines() == [f"{path}, line 2: {problem}"]


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"text": ' + b"1" * 5000 + b"}"])
def test_lines_that_exhaust_the_parser(tmp_path: Path, line: bytes):
    path = written(tmp_path / "a.jsonl", line)
    with pytest.raises(DataError, match=r"a\.jsonl, line 1: the line is not JSON that can be read"):
        list(rows_of(path))
