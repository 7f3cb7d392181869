"""CoNLL columns: a token a line, its fields side by side; an empty line ends a sentence.

Tabs separate the fields where a file's first token has one, else spaces do. ``-DOCSTART-`` lines
and, among tabs, comments (``# …`` without a tab, as CoNLL-U has them) are no tokens. Tjong Kim Sang
and Buchholz, "Introduction to the CoNLL-2000 shared task: chunking", CoNLL 2000.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from unrolled.data.corpus import Source
from unrolled.data.lines import Line, lines
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row

LONGEST_SENTENCE = 100_000
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
    separator: str | None = None
    tokens: list[list[str]] = []
    begin, skipping = 0, False
    for line in _with_an_end(lines(source, reading.encoding)):
        if not line.text.strip() and not line.problem:
            if tokens and not skipping:
                columns = map(list, zip(*tokens, strict=True))
                yield Row(source.name, begin, dict(zip(names, columns, strict=True)))
            tokens, skipping = [], False
            continue
        if skipping or _no_token(line.text, separator):
            continue
        if not names and not line.problem:
            separator = "\t" if "\t" in line.text else None
            if _no_token(line.text, separator):
                continue
            names = _names(source, line, separator, reading)
        fields = line.text.split(separator)
        problem = line.problem or _wrong(fields, names, len(tokens))
        if problem:
            reading.bad.add(source.name, line.number, problem)
            tokens, skipping = [], True
            continue
        if not tokens:
            begin = line.number
        tokens.append(fields)


def _with_an_end(found: Iterator[Line]) -> Iterator[Line]:
    yield from found
    yield Line(0, "")


def _no_token(text: str, separator: str | None) -> bool:
    if text.startswith(_DOCUMENT):
        return True
    return separator == "\t" and text.startswith("#") and "\t" not in text


def _names(source: Source, line: Line, separator: str | None, reading: Reading) -> list[str]:
    names = list(reading.names) or [f"c{i}" for i in range(len(line.text.split(separator)))]
    reading.check_columns(source.name, names)
    return names


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
