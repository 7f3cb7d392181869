"""Text files: lines, a file a class, a folder a class, pairs of files."""

from pathlib import Path

import pytest

from row_files import found, rows_of, written
from unrolled.data.bad_rows import BadRows
from unrolled.data.readers import text as module
from unrolled.errors import DataError


def test_lines(tmp_path: Path):
    path = written(tmp_path / "a.txt.gz", "\ufeffone \r\n\n\t\n  two\n")
    assert found(rows_of(path)) == [(1, {"text": "one"}), (4, {"text": "two"})]


def test_a_file_a_class(tmp_path: Path):
    written(tmp_path / "Greek.txt", "Alpha\n\n Beta\n")
    written(tmp_path / "Dutch.txt.gz", "Aalst\n")
    written(tmp_path / ".hidden", "no class")
    rows = rows_of(tmp_path, text="class-files", needed=("text", "label"))
    assert rows.format == "class-files"
    assert found(rows) == [
        (1, {"text": "Aalst", "label": "Dutch"}),
        (1, {"text": "Alpha", "label": "Greek"}),
        (3, {"text": "Beta", "label": "Greek"}),
    ]


def test_a_folder_a_class(tmp_path: Path):
    for name, content in {"neg/2": "bad\r\nfilm\n", "neg/1": "dull", "pos/1.txt": "good\n"}.items():
        written(tmp_path / name, content)
    rows = rows_of(tmp_path, text="class-files")
    assert rows.format == "class-folders"
    assert found(rows) == [
        (1, {"text": "dull", "label": "neg"}),
        (1, {"text": "bad\nfilm", "label": "neg"}),
        (1, {"text": "good", "label": "pos"}),
    ]


def test_a_class_without_an_example_is_refused(tmp_path: Path):
    written(tmp_path / "a.txt", "x")
    written(tmp_path / "b.txt", "\n \n")
    with pytest.raises(DataError) as caught:
        list(rows_of(tmp_path, text="class-files"))
    assert str(caught.value) == (
        f"the class 'b' has no example: there is no text in {tmp_path}/b.txt. Give it some, or "
        "take it away"
    )


def test_a_folder_without_a_file_is_refused(tmp_path: Path):
    written(tmp_path / "a" / "1", "x")
    (tmp_path / "b").mkdir()
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path, text="class-files")
    assert str(caught.value) == (
        f"the class 'b' has no example: there is no file in {tmp_path}/b. Give it some, or take it "
        "away"
    )


def test_a_folder_of_files_that_are_all_bad_is_refused(tmp_path: Path):
    written(tmp_path / "a" / "1", "x")
    written(tmp_path / "b" / "1", "")
    written(tmp_path / "b" / "2", b"\xff")
    bad = BadRows(2)
    with pytest.raises(DataError, match="the class 'b' has no example: there is no text in"):
        list(rows_of(tmp_path, bad, text="class-files"))
    assert bad.lines() == [
        f"{tmp_path}/b/1, line 1: the file has no text",
        f"{tmp_path}/b/2, line 1: byte 0xff in column 1 is not UTF-8: give the file's encoding "
        "(latin-1?)",
    ]


def test_a_file_beside_the_folders_is_refused(tmp_path: Path):
    written(tmp_path / "a" / "1", "x")
    written(tmp_path / "README", "about")
    with pytest.raises(DataError) as caught:
        rows_of(tmp_path, text="class-files")
    assert str(caught.value) == (
        f"{tmp_path}/README is not in a class' folder: {tmp_path} holds a folder for each class, "
        "and these hold the examples, a file each. Choose among files with --pattern"
    )


def test_a_file_is_no_folder_of_classes(tmp_path: Path):
    path = written(tmp_path / "a", "x")
    with pytest.raises(DataError) as caught:
        rows_of(path, format="class-folders")
    assert str(caught.value) == (
        f"{path} is no folder with a folder for each class, as class-folders are"
    )


def test_a_file_that_is_too_long_for_one_example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LONGEST", 5)
    written(tmp_path / "a" / "1", "12\n12\n")
    written(tmp_path / "a" / "2", "x")
    bad = BadRows(1)
    assert len(found(rows_of(tmp_path, bad, format="class-folders"))) == 1
    assert bad.lines() == [f"{tmp_path}/a/1, line 2: the file has more than 5 characters"]


class TestPairs:
    def test_lines_side_by_side(self, tmp_path: Path):
        source = written(tmp_path / "a.en", "\ufeffone\n\ntwo \r\n")
        target = written(tmp_path / "a.de.gz", "eins\n\n zwei")
        rows = rows_of([source, target], text="pairs", needed=("source", "target"))
        assert found(rows) == [
            (1, {"source": "one", "target": "eins"}),
            (3, {"source": "two", "target": "zwei"}),
        ]

    @pytest.mark.parametrize(("ours", "theirs"), [("a\nb\nc", "x\n"), ("a", "x\ny\nz\n")])
    def test_unequal_numbers_of_lines(self, tmp_path: Path, ours: str, theirs: str):
        source, target = written(tmp_path / "s", ours), written(tmp_path / "t", theirs)
        with pytest.raises(DataError) as caught:
            list(rows_of([source, target], format="pairs"))
        n, m = (3, 1) if len(ours) > 1 else (1, 3)
        assert str(caught.value) == (
            f"{source} has {n} line{'s' * (n > 1)} and {target} has {m}: the files of a pair have "
            "as many lines, each the translation of the other"
        )

    def test_another_number_of_files(self, tmp_path: Path):
        with pytest.raises(DataError) as caught:
            list(rows_of(written(tmp_path / "s", "a"), format="pairs"))
        assert str(caught.value) == (
            "pairs are two files, the source's and the target's, in this order; 1 came: "
            f"{tmp_path}/s"
        )

    def test_bad_lines_are_those_of_their_file(self, tmp_path: Path):
        source = written(tmp_path / "s", b"a\n\xff\n\nd\ne")
        target = written(tmp_path / "t", b"x\ny\nz\n\xfe\n ")
        bad = BadRows(4)
        assert len(found(rows_of([source, target], bad, format="pairs"))) == 1
        hint = "is not UTF-8: give the file's encoding (latin-1?)"
        assert bad.lines() == [
            f"{source}, line 2: byte 0xff in column 1 {hint}",
            f"{source}, line 3: the line is empty, and that of {target} is not",
            f"{target}, line 4: byte 0xfe in column 1 {hint}",
            f"{target}, line 5: the line is empty, and that of {source} is not",
        ]
