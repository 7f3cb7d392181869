"""Corpora: what a user names (files, directories, globs, standard input) as a stream of text."""

from __future__ import annotations

import codecs
import glob
import gzip
import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
import weakref
import zlib
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import BinaryIO, cast

from unrolled.errors import DataError

STDIN = "-"
STDLIB = "stdlib"

_BLOCK = 1 << 22
_GZIP_MAGIC = b"\x1f\x8b"
# Tests, vendored tools and generated files: not what one would call the library's source.
_NOT_STDLIB = frozenset(
    {
        "test",
        "tests",
        "idle_test",
        "idlelib",
        "lib2to3",
        "turtledemo",
        "site-packages",
        "dist-packages",
    }
)


@dataclass(frozen=True)
class Source:
    """One document of a corpus.

    Attributes:
        path: The file to read, gzip-compressed or not.
        name: How the user knows it.
        identity: Changes when the content may have changed.
        piped: Whether it came through a pipe, so that the path says nothing of what it is.
    """

    path: Path
    name: str
    identity: str
    piped: bool = False


def find(spec: str | Sequence[str], pattern: str = "*") -> list[Source]:
    """The documents that ``spec`` names, in an order that is the same each time.

    Args:
        spec: One or several of: a file, a directory (searched recursively, hidden entries left
            out), a glob (``**`` searches recursively), ``-`` for standard input, a pipe (as a
            shell's ``<(…)``), ``stdlib`` for the source of the running interpreter's standard
            library.
        pattern: Which file names count inside directories, as in a shell: ``*.txt``.

    Raises:
        DataError: where something named doesn't exist or a search finds no file.
    """
    specs = [spec] if isinstance(spec, str) else list(spec)
    if not specs:
        raise DataError("no corpus given: name a file, a directory, a glob, '-' or 'stdlib'")
    if specs.count(STDIN) > 1:
        raise DataError("standard input ('-') can be read only once: name it once")
    return [source for one in specs for source in _find_one(one, pattern)]


def _find_one(spec: str, pattern: str) -> list[Source]:
    if spec == STDIN:
        return [_spool(cast("BinaryIO", sys.stdin.buffer), "standard input")]
    if spec == STDLIB:
        return _standard_library()
    path = Path(spec)
    if path.is_dir():
        files = _search(path, pattern)
        if not files:
            raise DataError(f"the directory {spec} holds no file that matches {pattern!r}")
    elif path.is_fifo():
        with _readable(spec), path.open("rb") as pipe:
            return [_spool(pipe, spec)]
    elif path.exists():
        files = [path]
    elif glob.has_magic(spec):
        files = sorted(p for p in map(Path, glob.glob(spec, recursive=True)) if p.is_file())
        if not files:
            raise DataError(f"no file matches {spec!r}")
    else:
        raise DataError(f"there is no corpus {spec}: check the path (seen from {Path.cwd()})")
    return [_source(file) for file in files]


def _search(root: Path, pattern: str, left_out: frozenset[str] = frozenset()) -> list[Path]:
    """The files below ``root`` in order; hidden ones, caches and ``left_out`` are not entered."""
    files: list[Path] = []
    for directory, subdirectories, names in os.walk(root):
        subdirectories[:] = [
            name
            for name in subdirectories
            if not name.startswith(".") and name != "__pycache__" and name not in left_out
        ]
        visible = [name for name in names if not name.startswith(".") and fnmatch(name, pattern)]
        files += [path for path in (Path(directory, name) for name in visible) if path.is_file()]
    return sorted(files, key=lambda path: path.relative_to(root).parts)


def _standard_library() -> list[Source]:
    root = Path(sysconfig.get_path("stdlib"))
    files = [
        path
        for path in _search(root, "*.py", _NOT_STDLIB)
        if not path.name.startswith("_sysconfigdata")
    ]
    if not files:
        raise DataError(
            f"this Python has no source of its standard library in {root}: name another corpus"
        )
    return [_source(path, path.relative_to(root).as_posix()) for path in files]


def _source(path: Path, name: str | None = None) -> Source:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror}") from error
    identity = f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"
    return Source(path, name or str(path), identity)


def _spool(stream: BinaryIO, name: str) -> Source:
    """What a pipe gives as a file, since a corpus is read twice; it is gone with the source."""
    with tempfile.NamedTemporaryFile(prefix="unrolled-pipe-", delete=False) as file:
        shutil.copyfileobj(stream, file)
    path = Path(file.name)
    with path.open("rb") as content:
        digest = hashlib.sha256()
        while block := content.read(_BLOCK):
            digest.update(block)
    source = Source(path, name, f"sha256:{digest.hexdigest()}", piped=True)
    weakref.finalize(source, path.unlink, missing_ok=True)
    return source


def read(
    sources: Sequence[Source], encoding: str = "utf-8", *, binary: bool = False
) -> Iterator[str]:
    """The whole corpus in pieces of a few megabytes, each but a document's last cut at a line end.

    Args:
        sources: The documents, read one after the other.
        encoding: How they are encoded.
        binary: Take any bytes: what is no UTF-8 comes as surrogate escapes, which a byte vocabulary
            turns back into the bytes they were.

    Raises:
        DataError: where a file can't be read or decoded, is binary, or the corpus is empty.
    """
    empty = True
    for source in sources:
        for text in read_source(source, encoding, binary=binary):
            empty = False
            yield text
    if empty:
        names = ", ".join(source.name for source in sources[:3])
        raise DataError(f"the corpus is empty: there is no character in {names}")


def read_source(source: Source, encoding: str = "utf-8", *, binary: bool = False) -> Iterator[str]:
    """One document in pieces, as ``read`` gives them; nothing where it is empty."""
    return at_line_ends(decoded(source, "utf-8" if binary else encoding, binary=binary))


def at_line_ends(blocks: Iterable[str]) -> Iterator[str]:
    """A document's blocks in pieces, each but the last cut at a line end."""
    rest = ""
    for text in blocks:
        rest += text
        cut = rest.rfind("\n") + 1
        if not cut and len(rest) >= _BLOCK:
            # A line longer than a block is cut before a space, or where it stands.
            cut = max(0, rest.rfind(" ")) or len(rest)
        if cut:
            yield rest[:cut]
        rest = rest[cut:]
    if rest:
        yield rest


def decoded(source: Source, encoding: str, *, binary: bool) -> Iterator[str]:
    """One document in blocks, cut anywhere between characters.

    Args:
        source: The document, gzip-compressed or not.
        encoding: How it is encoded.
        binary: Keep all: bytes that the encoding doesn't know as surrogate escapes, NUL bytes, the
            byte order mark.

    Raises:
        DataError: where it can't be read or decoded.
    """
    try:
        decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if binary else "strict")
    except LookupError:
        raise DataError(f"there is no encoding {encoding!r}: try utf-8 or latin-1") from None
    check_nul = not binary and codecs.lookup(encoding).name == "utf-8"
    offset = 0
    for block in _blocks(source):
        if check_nul and b"\0" in block:
            raise DataError(
                f"{source.name} is binary (or UTF-16): it has a NUL byte at offset "
                f"{offset + block.index(0)}. Leave it out, give its encoding, or use a byte "
                "vocabulary"
            )
        yield _decode(decoder, block, offset, source, encoding)
        offset += len(block)
    yield _decode(decoder, b"", offset, source, encoding)


def _decode(
    decoder: codecs.IncrementalDecoder, block: bytes, offset: int, source: Source, encoding: str
) -> str:
    """The text of the block that starts at ``offset``; an empty one ends the document."""
    kept = len(decoder.getstate()[0])
    try:
        text = decoder.decode(block, final=not block)
    except UnicodeDecodeError as error:
        place = offset - kept + error.start
        raise DataError(
            f"{source.name} is not {encoding.upper()}: byte 0x{error.object[error.start]:02x} at "
            f"offset {place} ({error.reason}). Give its encoding (latin-1?), or use a byte "
            "vocabulary"
        ) from None
    except UnicodeError as error:  # UTF-16 or UTF-32 without a byte order mark
        raise DataError(
            f"{source.name} is not {encoding.upper()}: {error}. Give its encoding ({encoding}-le?)"
        ) from None
    return text.removeprefix("\ufeff") if offset == 0 and decoder.errors == "strict" else text


def _blocks(source: Source) -> Iterator[bytes]:
    with _readable(source.name), source.path.open("rb") as raw:
        compressed = raw.read(2) == _GZIP_MAGIC
        raw.seek(0)
        file = cast("BinaryIO", gzip.GzipFile(fileobj=raw)) if compressed else raw
        while block := file.read(_BLOCK):
            yield block


@contextmanager
def _readable(name: str) -> Generator[None, None, None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{name} is a damaged gzip file: {error}") from error
    except OSError as error:
        raise DataError(f"can't read {name}: {error.strerror or error}") from error
