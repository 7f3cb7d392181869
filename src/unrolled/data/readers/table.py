"""CSV and TSV: a header with the columns' names, then a row a record.

CSV as RFC 4180 has it: a field in double quotes may hold commas, line ends, and quotes written
twice. TSV as IANA registered it: no quotes, so that a quote in a text is a quote.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unrolled.data.corpus import Source
from unrolled.data.lines import LONGEST, Line, lines
from unrolled.data.readers.reading import Reading
from unrolled.data.readers.values import lacking
from unrolled.data.row import Row
from unrolled.errors import DataError

# A quote that is never closed is found before its lines fill the memory.
MOST_LINES = 100_000
_OPEN = (
    "a quote opens in this row and is not closed as it should be: a field with quotes is written "
    'in quotes, with those in it twice ("say ""so""")'
)
_RETURN = (
    "a carriage return stands amid this row: a line ends with \\n or \\r\\n, and a field that "
    'holds a return is written in quotes ("a\\rb")'
)


class _Csv(csv.Dialect):
    delimiter = ","
    quotechar = '"'
    doublequote = True
    lineterminator = "\n"
    quoting = csv.QUOTE_MINIMAL
    strict = True


class _Tsv(csv.Dialect):
    delimiter = "\t"
    lineterminator = "\n"
    quoting = csv.QUOTE_NONE
    strict = True


@dataclass(frozen=True)
class _Record:
    """One record as it stands: it may take several lines."""

    line: int
    fields: list[str]
    problem: str


class _Feed:
    """The lines that the parser takes; what a bad record swallowed can be given back."""

    def __init__(self, source: Source, encoding: str) -> None:
        self._lines = lines(source, encoding)
        self._again: deque[Line] = deque()
        self.taken: list[Line] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if len(self.taken) == MOST_LINES:
            raise csv.Error(f"a record has more than {MOST_LINES:,} lines")
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        return line.text.replace("\0", " ") + "\n"

    def give_back(self) -> None:
        """Has all lines but the record's first read again."""
        self._again.extendleft(reversed(self.taken[1:]))
        del self.taken[1:]


def read_csv(sources: Sequence[Source], reading: Reading) -> Iterator[Row]:
    """Rows of text by the header's columns.

    Raises:
        DataError: where a file has no header, a column twice or not all that are needed.
    """
    return _read(sources, reading, _Csv)


def read_tsv(sources: Sequence[Source], reading: Reading) -> Iterator[Row]:
    """Rows of text by the header's columns.

    Raises:
        DataError: where a file has no header, a column twice or not all that are needed.
    """
    return _read(sources, reading, _Tsv)


def _read(sources: Sequence[Source], reading: Reading, dialect: type[csv.Dialect]) -> Iterator[Row]:
    for source in sources:
        records = _records(source, reading.encoding, dialect)
        header = next(records, None)
        if header is None:
            raise DataError(f"{source.name} is empty: its first line names the columns")
        if header.problem:
            raise DataError(f"{source.name}, line {header.line:,}: {header.problem}")
        columns = [name.strip() for name in header.fields]
        reading.check_columns(source.name, columns)
        for record in records:
            problem = record.problem
            if not problem and len(record.fields) != len(columns):
                n = len(record.fields)
                problem = f"{n} field{'s' * (n != 1)} where the header has {len(columns)}"
            values = dict(zip(columns, record.fields, strict=False))
            problem = problem or lacking(values, reading.needed)
            if problem:
                reading.bad.add(source.name, record.line, problem)
            else:
                yield Row(source.name, record.line, values)


def _records(source: Source, encoding: str, dialect: type[csv.Dialect]) -> Iterator[_Record]:
    # The parser's bound on a field holds for the whole process: it is only ever raised.
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    feed = _Feed(source, encoding)
    parser = csv.reader(feed, dialect)
    while True:
        feed.taken.clear()
        try:
            fields, problem = next(parser), ""
        except StopIteration:
            return
        except csv.Error as error:
            fields, problem = [], f"this is not how CSV is written: {error}"
            if "new-line character" in str(error):
                problem = _RETURN
            elif len(feed.taken) > 1 or feed.taken[0].text.count('"') % 2:
                problem = _OPEN
            feed.give_back()
        begin = feed.taken[0].number
        unread = next((line for line in feed.taken if line.problem), None)
        if unread is not None:
            where = "" if unread.number == begin else f"in line {unread.number:,}, "
            problem = where + unread.problem
        if fields or problem:
            yield _Record(begin, fields, problem)
