"""Atomic files: a reader sees the old content or the whole new one, never a part."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

from unrolled.errors import DataError


@contextmanager
def staged(path: Path, suffix: str = "tmp") -> Generator[BinaryIO, None, None]:
    """A binary file to write, which takes ``path``'s place once the block ends without an error.

    It is a hidden neighbour of ``path`` named after it and ``suffix``, flushed to the disk before
    the rename. Where several processes may write the same path at once, each needs its own suffix.

    Raises:
        DataError: where the file can't be written (disk full, no permission); ``path`` stays as it
            was.
    """
    temporary = path.with_name(f".{path.name}.{suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            try:
                yield file
                flush(file)
            except BaseException:
                temporary.unlink()
                raise
        temporary.replace(path)
        _flush_directory(path.parent)
    except OSError as error:
        raise _cannot_write(path, error) from error


def write_together(contents: dict[Path, bytes]) -> None:
    """Writes several files; the first old one is replaced when all new ones are on the disk.

    They are renamed in the given order, so that the last one can vouch for the others.

    Raises:
        DataError: where one can't be written (disk full, no permission).
    """
    with ExitStack() as stack:
        # The stack unwinds from its end: what enters last is renamed first.
        for path, content in reversed(contents.items()):
            file = stack.enter_context(staged(path))
            file.write(content)
            flush(file)


def flush(file: BinaryIO) -> None:
    """Sees to it that what was written to ``file`` is on the disk."""
    file.flush()
    os.fsync(file.fileno())


def _cannot_write(path: Path, error: OSError) -> DataError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    advice = (
        "free some space or choose another directory"
        if full
        else "check the directory and its permissions"
    )
    return DataError(
        f"can't write {path}: {error.strerror or error}; nothing was overwritten, {advice}"
    )


def _flush_directory(directory: Path) -> None:
    """Makes a rename durable; a platform that can't open a directory needs no such call."""
    if os.name == "posix":
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
