"""Encoded rows: in memory and in files the same, bad rows left out, files whole or not at all."""

import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from small_files import largest_file
from unrolled.data.bad_rows import BadRows
from unrolled.data.encode import encode_rows
from unrolled.data.row import Row
from unrolled.errors import DataError


def rows(values: list[Any]) -> list[Row]:
    return [Row("a", line, {"x": value}) for line, value in enumerate(values, 1)]


def lengths(row: Row) -> Mapping[str, Any]:
    """Rows of a length: a sequence that starts with it, pairs, and two numbers."""
    n: int = row.values["x"]
    steps = np.arange(n, 2 * n, dtype=np.uint16)
    pairs = np.ones((n, 2), np.float32) * n
    return {"steps": steps, "pairs": pairs, "label": n % 3, "weight": n / 2}


@pytest.mark.parametrize("in_files", [False, True])
@given(sizes=st.lists(st.integers(0, 5), min_size=1))
def test_columns(tmp_path_factory: pytest.TempPathFactory, in_files: bool, sizes: list[int]):
    directory = tmp_path_factory.mktemp("columns") / "new" if in_files else None
    examples = encode_rows(rows(sizes), lengths, directory, BadRows())
    assert len(examples) == len(sizes)
    for i, n in enumerate(sizes):
        expected = lengths(Row("a", 1, {"x": n}))
        for name in ("steps", "pairs"):
            assert np.array_equal(examples.sequences[name][i], expected[name])
    types = {name: str(c.values.dtype) for name, c in examples.sequences.items()}
    assert types == {"steps": "uint16", "pairs": "float32"}
    assert (examples.values["label"].dtype, examples.values["weight"].dtype) == ("int64", "float32")
    assert examples.values["label"].tolist() == [n % 3 for n in sizes]
    assert examples.values["weight"].tolist() == [n / 2 for n in sizes]
    batch = examples.batch(np.arange(len(sizes))[::-1])
    assert batch.sequences["pairs"].data.shape == (max(sizes), len(sizes), 2)


def test_bad_rows_are_left_out():
    def encode(row: Row) -> Mapping[str, Any]:
        return {"x": np.array(row.numbers("x"))}

    bad = BadRows(2)
    examples = encode_rows(rows(["1 2", "one", "", "3", None]), encode, None, bad)
    assert [examples.sequences["x"][i].tolist() for i in range(3)] == [[1, 2], [], [3]]
    assert bad.lines() == [
        "a, line 2: the column 'x' is 'one' where a number is expected",
        "a, line 5: the column 'x' has no value",
    ]


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ([[0.5, np.nan]], "x is nan at step 1 where a finite number is expected"),
        ([[0.5, 0], [np.inf, 0]], "x is inf at step 2 where a finite number is expected"),
        ([[1.0, 2, 3]], "x has steps of shape [3], and [2] in the rows before"),
        ([1.0], "x has steps of shape [], and [2] in the rows before"),
    ],
)
def test_rows_that_do_not_fit_are_bad(value: Any, problem: str):
    bad = BadRows(1)
    given = rows([[[1.0, 2.0]], value])
    examples = encode_rows(given, lambda row: {"x": np.array(row.values["x"])}, None, bad)
    assert len(examples) == 1
    assert bad.lines() == [f"a, line 2: {problem}"]


@pytest.mark.parametrize(("first", "second"), [(1, 0.5), (1, np.nan)])
def test_numbers_that_do_not_fit_are_bad(first: Any, second: Any):
    bad = BadRows(1)
    encode_rows(rows([first, second]), lambda row: {"x": row.values["x"]}, None, bad)
    problem = (
        "x is float32, and int64 in the rows before"
        if second == second
        else "x is nan where a finite number is expected"
    )
    assert bad.lines() == [f"a, line 2: {problem}"]


def test_no_example_is_an_error():
    with pytest.raises(DataError) as caught:
        encode_rows([], lengths, None, BadRows())
    assert str(caught.value) == "there is no example: the data has no row"
    with pytest.raises(DataError) as caught:
        encode_rows(rows(["a", "b"]), lambda row: {"x": row.number("x")}, None, BadRows(2))
    assert str(caught.value) == "there is no example: all 2 rows are bad"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ([{"a": 1}, {"b": 1}], r"encode gave the columns \['b'\] and \['a'\] before"),
        ([{"a": "text"}], "encode gave <U4 for the column 'a': give numbers"),
        ([{"a": 1}, {"a": np.ones(1)}], "a sequence and a single number for the column 'a'"),
    ],
)
def test_wrong_encoders(values: list[Any], problem: str):
    with pytest.raises(ValueError, match=problem):
        encode_rows(rows(values), lambda row: row.values["x"], None, BadRows(9))


def listing(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(directory.iterdir())}


def test_an_error_leaves_the_old_files_and_nothing_else(tmp_path: Path):
    encode_rows(rows([3, 4]), lengths, tmp_path, BadRows())
    before = listing(tmp_path)
    assert list(before) == [
        "label.values",
        "pairs.offsets",
        "pairs.values",
        "steps.offsets",
        "steps.values",
        "weight.values",
    ]
    with pytest.raises(KeyError):
        encode_rows([*rows([5, 6]), Row("a", 3, {})], lengths, tmp_path, BadRows())
    assert listing(tmp_path) == before
    with largest_file(10_000), pytest.raises(DataError, match=r"can't write .*nothing was overwr"):
        encode_rows(rows([1000] * 10), lengths, tmp_path, BadRows())
    assert listing(tmp_path) == before


def test_what_is_mapped_stays_when_the_files_are_replaced(tmp_path: Path):
    old = encode_rows(rows([3, 4]), lengths, tmp_path, BadRows())
    encode_rows(rows([5]), lengths, tmp_path, BadRows())
    assert old.sequences["steps"][1].tolist() == [4, 5, 6, 7]


def test_a_columns_name_need_not_be_a_files_name(tmp_path: Path):
    examples = encode_rows(rows([1]), lambda _: {"../a b": np.ones(2)}, tmp_path, BadRows())
    assert examples.sequences["../a b"][0].tolist() == [1, 1]
    assert list(listing(tmp_path)) == ["..%2Fa%20b.offsets", "..%2Fa%20b.values"]


def test_data_larger_than_what_memory_may_hold(tmp_path: Path):
    # 24 MB of text become 48 MB of ids; no more than 20 MB are taken at any time: a few blocks.
    with (tmp_path / "a.csv").open("w") as file:
        file.write("text,label\n")
        for i in range(752):
            file.write(f"{'0123456789abcdef' * 2048},{i % 7}\n")
    script = """
        import sys, tracemalloc
        import numpy as np
        from unrolled.data.bad_rows import BadRows
        from unrolled.data.encode import encode_rows
        from unrolled.data.examples import Bucketed
        from unrolled.data.fingerprint import fingerprint
        from unrolled.data.readers.reading import Reading
        from unrolled.data.rows import find_rows
        from unrolled.data.vocabulary import Vocabulary
        path, directory = sys.argv[1:]
        vocabulary = Vocabulary.build(["0123456789abcdef"], "char")
        tracemalloc.start()
        rows = find_rows(path, Reading())
        examples = encode_rows(
            rows,
            lambda row: {"x": vocabulary.encode(row.text("text")), "y": int(row.text("label"))},
            directory,
            BadRows(),
        )
        fingerprint({"x": examples})
        for batch in Bucketed(examples, 8, "x", 0).batches():
            assert batch.sequences["x"].data.shape == (32768, 8)
        size = examples.sequences["x"].values.nbytes
        print(len(examples), size, tracemalloc.get_traced_memory()[1])
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "a.csv"), str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    n, size, peak = map(int, result.stdout.split())
    assert (n, size) == (752, 752 * 32768 * 2)
    assert peak < 20 << 20
