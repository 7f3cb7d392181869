"""CoNLL columns: a token a line, its fields side by side; an empty line ends a sentence.

Tabs separate the fields where a file's first line of fields has one, else spaces do.
``-DOCSTART-`` lines and, among tabs, comments (``# …`` without a tab, as CoNLL-U has them) are no
tokens. Tjong Kim Sang and Buchholz, "Introduction to the CoNLL-2000 shared task: chunking", CoNLL
2000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from unrolled.data.corpus import Source
from unrolled.data.lines import Line, lines
from unrolled.data.pieces import items
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row

LONGEST_SENTENCE = 100_000
_PEEKED = 1000
_DOCUMENT = "-DOCSTART-"


def read_conll(sources: Sequence[Source], reading: Reading) -> Iterator[Row]:
    """Rows of lists, one a column: the fields of the sentence's tokens.

    A sentence with a bad line is a bad row.

    Raises:
        DataError: where a needed column is missing.
    """
    for source in sources:
        yield from _sentences(source, reading)


def _sentences(source: Source, reading: Reading) -> Iterator[Row]:
    names: list[str] = []
    separator, document = _separator(lines(source, reading.encoding))
    tokens: list[list[str]] = []
    begin, skipping = 0, False
    for line in chain(document, [Line(0, "")]):
        if not items(line.text) and not line.problem:
            if tokens and not skipping:
                columns = map(list, zip(*tokens, strict=True))
                yield Row(source.name, begin, dict(zip(names, columns, strict=True)))
            tokens, skipping = [], False
            continue
        if skipping or _no_token(line.text, separator):
            continue
        if not names and not line.problem:
            names = _names(source, line, separator, reading)
        fields = _fields(line.text, separator)
        problem = line.problem or _wrong(fields, names, len(tokens))
        if problem:
            reading.bad.add(source.name, line.number, problem)
            tokens, skipping = [], True
            continue
        if not tokens:
            begin = line.number
        tokens.append(fields)


def _separator(document: Iterator[Line]) -> tuple[str | None, Iterator[Line]]:
    """A tab or None (spaces), by the lines up to the first that is no comment; and all lines."""
    seen: list[Line] = []
    for line in document:
        seen.append(line)
        comment = line.problem or line.text.startswith(("#", _DOCUMENT)) or not items(line.text)
        if not comment or len(seen) == _PEEKED:
            break
    tabs = any("\t" in line.text for line in seen)
    return "\t" if tabs else None, chain(seen, document)


def _no_token(text: str, separator: str | None) -> bool:
    if text.startswith(_DOCUMENT):
        return True
    return separator == "\t" and text.startswith("#") and "\t" not in text


def _names(source: Source, line: Line, separator: str | None, reading: Reading) -> list[str]:
    names = list(reading.names) or [f"c{i}" for i in range(len(_fields(line.text, separator)))]
    reading.check_columns(source.name, names)
    return names


def _fields(text: str, separator: str | None) -> list[str]:
    return text.split(separator) if separator else items(text)


def _wrong(fields: list[str], names: list[str], before: int) -> str:
    if len(fields) != len(names):
        expected = f"{len(names)} are expected ({', '.join(names)})"
        return f"the line has {len(fields)} column{'s' * (len(fields) != 1)} where {expected}"
    if "" in fields:
        return f"the column {names[fields.index('')]!r} is empty"
    if before == LONGEST_SENTENCE:
        return (
            f"the sentence has more than {LONGEST_SENTENCE:,} tokens: an empty line ends a sentence"
        )
    return ""
