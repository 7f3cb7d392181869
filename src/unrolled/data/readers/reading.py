"""What all readers are told: how the data is written, and where bad rows go."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from unrolled.data.bad_rows import BadRows
from unrolled.data.corpus import Source
from unrolled.data.lines import Line, lines
from unrolled.errors import DataError


@dataclass(frozen=True)
class Reading:
    """How data is read.

    Attributes:
        encoding: How text is encoded.
        needed: Columns that each row must have, with a value.
        names: What the columns of a CoNLL file are called, from the left; c0, c1 … where empty.
        bad: Where rows that can't be read are counted.
    """

    encoding: str = "utf-8"
    needed: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    bad: BadRows = field(default_factory=BadRows)

    def good_lines(self, source: Source) -> Iterator[Line]:
        """The document's lines without those that can't be read."""
        for line in lines(source, self.encoding):
            if line.problem:
                self.bad.add(source.name, line.number, line.problem)
            else:
                yield line

    def check_columns(self, file: str, columns: Sequence[str]) -> None:
        """Checks a file's columns.

        Raises:
            DataError: where one stands twice, or a needed one is missing.
        """
        twice = next((c for i, c in enumerate(columns) if c in columns[:i]), None)
        if twice is not None:
            raise DataError(
                f"{file} has the column {twice!r} twice: give each column a name of its own"
            )
        for column in self.needed:
            if column not in columns:
                close = difflib.get_close_matches(column, columns, 1)
                advice = f" (did you mean {close[0]!r}?)" if close else ""
                raise DataError(
                    f"{file} has no column {column!r}{advice}: its columns are "
                    f"{', '.join(map(repr, columns))}"
                )
