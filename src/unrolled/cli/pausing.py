"""Lines in chunks: as many as are there, so that nobody who waits for an answer waits for more.

A file is read in chunks of one size. A pipe or a terminal gives what it has when it pauses: what is
written into it a line at a time is answered a line at a time, and what fills it is read in bulk.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
from collections.abc import Iterator
from typing import BinaryIO

LINES = 1024
_BYTES = 1 << 16


def chunks(source: BinaryIO, most: int = LINES) -> Iterator[list[bytes]]:
    """The lines of ``source`` without their ends (LF or CR LF), at most ``most`` at a time.

    The last line may lack its end.
    """
    waits = _descriptor_that_waits(source)
    held: list[bytes] = []
    for lines, is_there in _read(source, waits):
        held += lines
        while len(held) >= most:
            yield held[:most]
            del held[:most]
        if held and not is_there:
            yield held
            held = []
    if held:
        yield held


def _read(source: BinaryIO, waits: int | None) -> Iterator[tuple[list[bytes], bool]]:
    """Whole lines as they are read, and whether more can be read without waiting."""
    parts: list[bytes] = []
    while block := source.read(_BYTES) if waits is None else os.read(waits, _BYTES):
        *lines, rest = block.split(b"\n")
        if lines:
            lines[0] = b"".join([*parts, lines[0]])
            parts = []
        parts.append(rest)
        is_there = waits is None or bool(select.select([waits], [], [], 0)[0])
        yield [line.removesuffix(b"\r") for line in lines], is_there
    last = b"".join(parts)
    if last:
        yield [last.removesuffix(b"\r")], True


def _descriptor_that_waits(source: BinaryIO) -> int | None:
    """The descriptor of a pipe, a socket or a terminal; None for a file, and on Windows.

    Windows can't say whether a pipe has more, so that one there is read to its end.
    """
    try:
        descriptor = source.fileno()
    except (io.UnsupportedOperation, OSError):
        return None
    if sys.platform == "win32" or stat.S_ISREG(os.fstat(descriptor).st_mode):
        return None
    return descriptor
