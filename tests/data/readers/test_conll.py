"""CoNLL columns: sentences, their lines, what is no token, and what makes one bad."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from row_files import found, rows_of, written
from unrolled.data.bad_rows import BadRows
from unrolled.data.readers import conll
from unrolled.errors import DataError

ITEM = st.text("ab#-é\xa0", min_size=1, max_size=3)


def test_columns_of_sentences(tmp_path: Path):
    path = written(tmp_path / "a.txt", "-DOCSTART- -X-\n\nthe DT \r\ncat  NN\r\n\r\n\r\n# #\n")
    assert found(rows_of(path, format="conll")) == [
        (3, {"c0": ["the", "cat"], "c1": ["DT", "NN"]}),
        (7, {"c0": ["#"], "c1": ["#"]}),
    ]
    assert found(rows_of(path, text="conll", names=("word", "tag")))[1] == (
        7,
        {"word": ["#"], "tag": ["#"]},
    )


def test_tabs_and_comments(tmp_path: Path):
    content = "# text = New York\n1\tNew York\tNNP\n#\t#\t#\n\n# sent_id = 2\n2\tis\tVBZ"
    path = written(tmp_path / "a.conllu", content)
    assert found(rows_of(path, names=("id", "word", "tag"))) == [
        (2, {"id": ["1", "#"], "word": ["New York", "#"], "tag": ["NNP", "#"]}),
        (6, {"id": ["2"], "word": ["is"], "tag": ["VBZ"]}),
    ]


@given(st.lists(st.lists(st.tuples(ITEM, ITEM), min_size=1), min_size=1), st.sampled_from(" \t"))
def test_what_is_written_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    sentences: list[list[tuple[str, str]]],
    separator: str,
):
    path = tmp_path_factory.mktemp("conll") / "a.conll"
    blocks = ["".join(f"{a}{separator}{b}\n" for a, b in sentence) for sentence in sentences]
    path.write_text("\n".join(blocks), "utf-8")
    expected = [{"c0": [a for a, _ in s], "c1": [b for _, b in s]} for s in sentences]
    assert [values for _, values in found(rows_of(path))] == expected


def test_a_sentence_with_a_bad_line_is_one_bad_row(tmp_path: Path):
    content = b"a A\n\nb B\nb\nb B\nb\n\nc C\nc \xff\n\n\0\n\nd D e\nd D\n\ne E\n"
    path = written(tmp_path / "a.conll", content)
    bad = BadRows(4)
    assert found(rows_of(path, bad)) == [
        (1, {"c0": ["a"], "c1": ["A"]}),
        (16, {"c0": ["e"], "c1": ["E"]}),
    ]
    assert bad.lines() == [
        f"{path}, line 4: the line has 1 column where 2 are expected (c0, c1)",
        f"{path}, line 9: byte 0xff in column 3 is not UTF-8: give the file's encoding (latin-1?)",
        f"{path}, line 11: there is a NUL byte: the file is binary, or UTF-16 (give its encoding)",
        f"{path}, line 13: the line has 3 columns where 2 are expected (c0, c1)",
    ]


def test_a_bad_first_line_does_not_decide_on_the_columns(tmp_path: Path):
    path = written(tmp_path / "a.conll", b"\xff\xff\xff\n\na\tA\n")
    assert found(rows_of(path, BadRows(1))) == [(3, {"c0": ["a"], "c1": ["A"]})]


def test_an_empty_field_among_tabs(tmp_path: Path):
    path = written(tmp_path / "a.conll", "a\tA\n\tB\n")
    with pytest.raises(DataError) as caught:
        list(rows_of(path))
    assert str(caught.value) == (
        f"{path}, line 2: the column 'c0' is empty. Mend it, or skip bad rows with --skip-bad N"
    )


def test_a_file_without_empty_lines_is_not_taken_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(conll, "LONGEST_SENTENCE", 3)
    path = written(tmp_path / "a.conll", "a\n" * 3 + "\n" + "a\n" * 7 + "\na\n")
    bad = BadRows(1)
    assert [line for line, _ in found(rows_of(path, bad))] == [1, 13]
    assert bad.lines() == [
        f"{path}, line 8: the sentence has more than 3 tokens: an empty line ends a sentence"
    ]


@pytest.mark.parametrize(
    ("names", "needed", "problem"),
    [
        (("a", "a"), (), "{} has the column 'a' twice: give each column a name of its own"),
        (("a", "b"), ("c",), "{} has no column 'c': its columns are 'a', 'b'"),
        ((), ("c2",), "{} has no column 'c2': its columns are 'c0', 'c1'"),
        (
            ("a", "b", "c"),
            (),
            "{}, line 1: the line has 2 columns where 3 are expected (a, b, c). Mend it, or skip "
            "bad rows with --skip-bad N",
        ),
    ],
)
def test_refused(tmp_path: Path, names: tuple[str, ...], needed: tuple[str, ...], problem: str):
    path = written(tmp_path / "a.conll", "x X\n")
    with pytest.raises(DataError) as caught:
        list(rows_of(path, names=names, needed=needed))
    assert str(caught.value) == problem.replace("{}", str(path))
