"""A document's lines with their numbers: what can't be read is said of its line, not of the file.

Lines end with a line feed, or carriage return and line feed. However large the document is, no more
than a few megabytes and one line are in memory.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass

from unrolled.data.bad_rows import BadRows
from unrolled.data.corpus import Source, at_line_ends, decoded

LONGEST = 1 << 24
_BOM = "\ufeff"
_ESCAPED = re.compile("[\udc80-\udcff]")


@dataclass(frozen=True, slots=True)
class Line:
    """One line.

    Attributes:
        number: From 1.
        text: Without its end; empty where it is too long.
        problem: Why it can't be used, or "".
    """

    number: int
    text: str
    problem: str = ""


def lines(source: Source, encoding: str = "utf-8") -> Iterator[Line]:
    """The document's lines; none is behind a last line end.

    Raises:
        DataError: where the file can't be read, or cut to lines: it is a damaged gzip file, or not
            of an encoding such as UTF-16.
    """
    name = _name(encoding)
    number, length = 1, 0
    pieces: list[str] = []

    def line() -> Line:
        if length > LONGEST:
            return Line(number, "", f"the line has more than {LONGEST:,} characters")
        text = "".join(pieces).removesuffix("\r")
        if number == 1:
            text = text.removeprefix(_BOM)
        return Line(number, text, "" if text.isascii() and "\0" not in text else _found(text, name))

    for block in decoded(source, encoding, binary=True):
        begin = 0
        while (end := block.find("\n", begin)) >= 0:
            length += end - begin
            if length <= LONGEST:
                pieces.append(block[begin:end])
            yield line()
            number, length, begin = number + 1, 0, end + 1
            pieces.clear()
        length += len(block) - begin
        if length > LONGEST:
            pieces.clear()
        else:
            pieces.append(block[begin:])
    if length:
        yield line()


def readable(source: Source, encoding: str, bad: BadRows) -> Iterator[str]:
    """A document in pieces of whole lines, as they are, without those that can't be read.

    Of a line of more than a few megabytes the part that can't be read is left out.

    Args:
        source: The document.
        encoding: How it is encoded.
        bad: Where lines with bytes of another encoding, or with NUL bytes, are counted.

    Raises:
        DataError: where the file can't be read, or more lines are bad than allowed.
    """
    name, number = _name(encoding), 1
    for piece in at_line_ends(decoded(source, encoding, binary=True)):
        text = piece.removeprefix(_BOM) if number == 1 else piece
        if "\0" in text or (not text.isascii() and _ESCAPED.search(text)):
            text = "".join(_good(text, source, number, name, bad))
        yield text
        number += piece.count("\n")


def _good(text: str, source: Source, number: int, encoding: str, bad: BadRows) -> Iterator[str]:
    *whole, last = text.split("\n")
    for place, line in enumerate([*(f"{each}\n" for each in whole), last], number):
        problem = _found(line, encoding)
        if problem:
            bad.add(source.name, place, problem)
        else:
            yield line


def _found(text: str, encoding: str) -> str:
    """What makes a line unusable, or ""."""
    if "\0" in text:
        return "there is a NUL byte: the file is binary, or UTF-16 (give its encoding)"
    escaped = _ESCAPED.search(text)
    if escaped is None:
        return ""
    byte = ord(escaped[0]) - 0xDC00
    return (
        f"byte 0x{byte:02x} in column {escaped.start() + 1} is not {encoding}: "
        "give the file's encoding (latin-1?)"
    )


def _name(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name.upper()
    except LookupError:
        return encoding  # reading says so
