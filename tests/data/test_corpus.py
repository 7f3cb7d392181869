"""Corpora: everything a user may name, and everything that may be wrong with it."""

import gzip
import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from unrolled.data import corpus
from unrolled.data.corpus import find, read
from unrolled.errors import DataError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, text in {
        "b.txt": "B",
        "a.txt": "A",
        "sub/c.txt": "C",
        "sub/d.md": "D",
        ".hidden": "no",
        ".git/e.txt": "no",
        "sub/__pycache__/f.txt": "no",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def joined(spec: str | list[str], pattern: str = "*") -> str:
    return "".join(read(find(spec, pattern)))


def stdin(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))


def test_a_file(tree: Path):
    assert joined(str(tree / "a.txt")) == "A"


def test_several_in_the_given_order(tree: Path):
    assert joined([str(tree / "b.txt"), str(tree / "a.txt")]) == "BA"


def test_a_directory_in_order_without_hidden_entries(tree: Path):
    assert joined(str(tree)) == "ABCD"


def test_a_directory_by_pattern(tree: Path):
    assert joined(str(tree), "*.md") == "D"


def test_a_glob(tree: Path):
    assert joined(str(tree / "*.txt")) == "AB"
    assert joined(str(tree / "**" / "[a-c].txt")) == "ABC"


def test_a_file_whose_name_looks_like_a_glob(tmp_path: Path):
    (tmp_path / "a[1].txt").write_text("X")
    assert joined(str(tmp_path / "a[1].txt")) == "X"


def test_gzip_is_known_by_its_content(tmp_path: Path):
    (tmp_path / "a.gz").write_bytes(gzip.compress("é\n".encode() * 1000))
    (tmp_path / "b.txt").write_bytes(gzip.compress(b"b"))
    assert joined(str(tmp_path)) == "é\n" * 1000 + "b"


def test_standard_input_can_be_read_twice_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch):
    stdin(monkeypatch, b"text\n")
    sources = find("-")
    assert "".join(read(sources)) == "".join(read(sources)) == "text\n"
    path = sources[0].path
    assert path.exists()
    del sources
    assert not path.exists()


def test_a_pipe_can_be_read_twice_and_leaves_nothing(tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(pipe.write_bytes, b"text\n")
        sources = find(str(pipe))
        writing.result()
    assert "".join(read(sources)) == "".join(read(sources)) == "text\n"
    assert sources[0].name == str(pipe)
    path = sources[0].path
    assert path.exists()
    del sources
    assert not path.exists()


def test_standard_input_is_known_by_its_content(monkeypatch: pytest.MonkeyPatch):
    identities: list[str] = []
    for content in (b"one", b"one", b"two"):
        stdin(monkeypatch, content)
        identities.append(find("-")[0].identity)
    assert identities[0] == identities[1] != identities[2]


def test_standard_input_twice_is_refused():
    with pytest.raises(DataError, match="only once"):
        find(["-", "-"])


def test_the_standard_library_is_python_source_without_tests():
    sources = find("stdlib")
    names = [source.name for source in sources]
    assert len(names) > 400
    assert "argparse.py" in names
    assert "json/decoder.py" in names
    assert names == [source.name for source in find("stdlib")]
    assert not [n for n in names if {"test", "tests", "idlelib", "lib2to3"} & {*n.split("/")}]
    assert not [n for n in names if "packages" in n]
    characters = sum(len(text) for text in read(sources))
    assert characters > 5_000_000


def test_a_long_text_comes_in_pieces_cut_at_line_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(corpus, "_BLOCK", 7)
    text = "äöü\nsome words here and\r\n\n\nmore without a break: abcdefghijklmnopqrstuvwxyz €"
    (tmp_path / "a").write_bytes(text.encode())
    pieces = list(read(find(str(tmp_path / "a"))))
    assert "".join(pieces) == text
    assert max(map(len, pieces)) < 20
    assert "äöü\n" in pieces
    assert not [p for p in pieces if p.strip() and p.endswith("wor")]


def test_a_byte_order_mark_is_no_text(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\xef\xbb\xbf")
    assert joined(str(tmp_path / "a")) == "a\ufeff"


def test_other_encodings(tmp_path: Path):
    (tmp_path / "a").write_bytes("Ä".encode("latin-1"))
    (tmp_path / "b").write_bytes("Ä€".encode("utf-16"))
    assert "".join(read(find(str(tmp_path / "a")), "latin-1")) == "Ä"
    assert "".join(read(find(str(tmp_path / "b")), "utf-16")) == "Ä€"


def test_any_bytes_where_they_are_asked_for(tmp_path: Path):
    content = bytes(range(256)) * 3
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf" + content)
    text = "".join(read(find(str(tmp_path / "a")), binary=True))
    assert text.encode("utf-8", "surrogateescape") == b"\xef\xbb\xbf" + content


def test_empty_files_among_others_are_no_matter(tree: Path):
    (tree / "a.txt").write_text("")
    assert joined(str(tree)) == "BCD"


class TestRefused:
    def test_nothing_named(self):
        with pytest.raises(DataError, match="no corpus given"):
            find([])

    def test_missing(self, tmp_path: Path):
        with pytest.raises(DataError, match=r"there is no corpus .*/nowhere: check the path"):
            find(str(tmp_path / "nowhere"))

    def test_a_glob_without_a_match(self, tmp_path: Path):
        with pytest.raises(DataError, match="no file matches"):
            find(str(tmp_path / "*.txt"))

    def test_a_directory_without_a_match(self, tree: Path):
        with pytest.raises(DataError, match=r"holds no file that matches '\*\.rst'"):
            find(str(tree), "*.rst")

    def test_empty(self, tmp_path: Path):
        (tmp_path / "a").write_bytes(b"")
        with pytest.raises(DataError, match=r"the corpus is empty: there is no character in .*/a"):
            list(read(find(str(tmp_path / "a"))))

    def test_binary(self, tmp_path: Path):
        (tmp_path / "a").write_bytes(b"ab\xff\x00")
        with pytest.raises(DataError, match=r"a is binary .* NUL byte at offset 3\. Leave it out"):
            list(read(find(str(tmp_path / "a"))))

    @pytest.mark.parametrize("block", [4, 5, 6, 1000])
    def test_not_utf_8(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int):
        monkeypatch.setattr(corpus, "_BLOCK", block)
        (tmp_path / "a").write_bytes("aä€".encode() + b"\xe9b")
        with pytest.raises(
            DataError, match=r"a is not UTF-8: byte 0xe9 at offset 6 .*latin-1.*byte vocabulary"
        ):
            list(read(find(str(tmp_path / "a"))))

    def test_cut_off_in_a_character(self, tmp_path: Path):
        (tmp_path / "a").write_bytes("a€".encode()[:-1])
        with pytest.raises(DataError, match="byte 0xe2 at offset 1"):
            list(read(find(str(tmp_path / "a"))))

    def test_an_unknown_encoding(self, tree: Path):
        with pytest.raises(DataError, match="there is no encoding 'utf-9'"):
            list(read(find(str(tree)), "utf-9"))

    @pytest.mark.parametrize("damage", [slice(0, -4), slice(0, 12)])
    def test_a_cut_off_gzip_file(self, tmp_path: Path, damage: slice):
        (tmp_path / "a.gz").write_bytes(gzip.compress(b"some text" * 100)[damage])
        with pytest.raises(DataError, match=r"a\.gz is a damaged gzip file"):
            list(read(find(str(tmp_path / "a.gz"))))

    def test_a_changed_gzip_file(self, tmp_path: Path):
        content = bytearray(gzip.compress(b"some text" * 100))
        content[14] ^= 0xFF
        (tmp_path / "a.gz").write_bytes(content)
        with pytest.raises(DataError, match=r"a\.gz is a damaged gzip file"):
            list(read(find(str(tmp_path / "a.gz"))))

    def test_gone_between_finding_and_reading(self, tree: Path):
        sources = find(str(tree / "a.txt"))
        (tree / "a.txt").unlink()
        with pytest.raises(DataError, match=r"can't read .*a\.txt: No such file"):
            list(read(sources))
