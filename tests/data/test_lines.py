"""Lines: where they end, what they are encoded in, and what makes one unusable."""

import gzip
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data import corpus
from unrolled.data import lines as module
from unrolled.data.corpus import find
from unrolled.data.lines import Line, lines
from unrolled.errors import DataError


def read(path: Path, encoding: str = "utf-8") -> list[Line]:
    return list(lines(find(str(path))[0], encoding))


def texts(path: Path, encoding: str = "utf-8") -> list[str]:
    found = read(path, encoding)
    assert [line.problem for line in found] == [""] * len(found)
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    return [line.text for line in found]


@pytest.fixture(params=[1, 2, 3, 7, 1 << 22])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(corpus, "_BLOCK", request.param)
    return request.param


PIECES = ("a", "ä", "€", "\n", "\r\n", "\r", " ", "\u2028", "\x0b", "𝄞")


@given(st.lists(st.sampled_from(PIECES)), st.sampled_from(["utf-8", "utf-16", "utf-32"]))
@pytest.mark.parametrize("size", [1, 2, 3, 7, 1 << 22])
def test_only_line_feeds_end_lines(
    tmp_path_factory: pytest.TempPathFactory, size: int, pieces: list[str], encoding: str
):
    text = "".join(pieces)
    path = tmp_path_factory.mktemp("lines") / "a"
    path.write_bytes(text.encode(encoding))
    expected = text.split("\n")
    if not expected[-1]:
        expected.pop()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "_BLOCK", size)
        assert texts(path, encoding) == [line.removesuffix("\r") for line in expected]


@pytest.mark.usefixtures("block")
def test_a_byte_order_mark_is_no_text(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfa\n\xef\xbb\xbfb")
    assert texts(tmp_path / "a") == ["a", "\ufeffb"]


@pytest.mark.usefixtures("block")
def test_gzip_and_other_encodings(tmp_path: Path):
    (tmp_path / "a").write_bytes(gzip.compress("Ä\nö".encode("latin-1")))
    assert texts(tmp_path / "a", "latin-1") == ["Ä", "ö"]
    assert texts(tmp_path / "a", "cp1252") == ["Ä", "ö"]


@pytest.mark.usefixtures("block")
def test_bytes_of_another_encoding_are_said_of_their_line(tmp_path: Path):
    (tmp_path / "a").write_bytes("good\nä".encode() + b"\xe9\ngood\n\xff")
    assert [(line.number, line.problem) for line in read(tmp_path / "a")] == [
        (1, ""),
        (2, "byte 0xe9 in column 2 is not UTF-8: give the file's encoding (latin-1?)"),
        (3, ""),
        (4, "byte 0xff in column 1 is not UTF-8: give the file's encoding (latin-1?)"),
    ]
    assert [(line.text, line.problem) for line in read(tmp_path / "a", "ascii")][1:3] == [
        (
            "\udcc3\udca4\udce9",
            "byte 0xc3 in column 1 is not ASCII: give the file's encoding (latin-1?)",
        ),
        ("good", ""),
    ]


@pytest.mark.usefixtures("block")
def test_nul_bytes_are_said_of_their_line(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"a\nb\0\nc")
    assert [line.problem for line in read(tmp_path / "a")] == [
        "",
        "there is a NUL byte: the file is binary, or UTF-16 (give its encoding)",
        "",
    ]


@pytest.mark.usefixtures("block")
def test_a_line_that_is_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LONGEST", 5)
    (tmp_path / "a").write_bytes(b"12345\n123456\n1\n1234567890")
    problem = "the line has more than 5 characters"
    assert read(tmp_path / "a") == [
        Line(1, "12345"),
        Line(2, "", problem),
        Line(3, "1"),
        Line(4, "", problem),
    ]


def test_what_is_not_of_the_encoding_at_all_is_refused(tmp_path: Path):
    (tmp_path / "a").write_bytes(b"abc")
    with pytest.raises(DataError, match=r"a is not UTF-16-LE: byte 0x63 at offset 2"):
        read(tmp_path / "a", "utf-16-le")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "a", "utf-16")
    assert str(caught.value) == (
        f"{tmp_path}/a is not UTF-16: UTF-16 stream does not start with BOM. Give its encoding "
        "(utf-16-le?)"
    )
    with pytest.raises(DataError, match="there is no encoding 'utf-9': try utf-8 or latin-1"):
        read(tmp_path / "a", "utf-9")


def test_a_damaged_gzip_file_is_refused(tmp_path: Path):
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"some\ntext" * 100)[:-4])
    with pytest.raises(DataError, match=r"a\.gz is a damaged gzip file"):
        read(tmp_path / "a.gz")


def test_a_line_without_end_is_never_whole_in_memory(tmp_path: Path):
    # 256 MB of zeros are 256 kB of gzip; the process may grow by 128 MB.
    with gzip.open(tmp_path / "a.gz", "wb", compresslevel=1) as file:
        for _ in range(256):
            file.write(b"0" * (1 << 20))
    script = """
        import resource, sys
        from unrolled.data.corpus import find
        from unrolled.data.lines import lines
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found = [(line.number, line.problem) for line in lines(find(sys.argv[1])[0])]
        print(found, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "a.gz")],
        capture_output=True,
        text=True,
        check=True,
    )
    said, grown = result.stdout.rsplit(" ", 1)
    assert said == "[(1, 'the line has more than 16,777,216 characters')]"
    assert int(grown) * (1 if sys.platform == "darwin" else 1024) < 1 << 27
