"""Rows that can't be read: counted with their place and reason, and skipped up to a limit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from unrolled.data.row import Row
from unrolled.errors import DataError

T = TypeVar("T")

_NAMED = 3


class BadRows:
    """The rows of one set of data that can't be read.

    Data is often read several times (for its labels, its words, its examples); a place counts once.

    Args:
        limit: How many are skipped; one more is an error.

    Raises:
        DataError: where the limit is negative.
    """

    def __init__(self, limit: int = 0) -> None:
        if limit < 0:
            raise DataError(f"--skip-bad is at least 0, not {limit}")
        self.limit = limit
        self._problems: dict[tuple[str, int], str] = {}

    def add(self, file: str, line: int, problem: str) -> None:
        """Skips the row at this place.

        Raises:
            DataError: where more than ``limit`` rows are bad.
        """
        self._problems.setdefault((file, line), problem)
        if self.count <= self.limit:
            return
        if self.limit == 0:
            first = self.lines()[0]
            stop = "" if first.endswith("?") else "."
            raise DataError(f"{first}{stop} Mend it, or skip bad rows with --skip-bad N")
        raise DataError(
            f"{self.count:,} rows can't be read and --skip-bad allows {self.limit:,}: "
            f"{'; '.join(self.lines(_NAMED))}"
        )

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._problems)

    def lines(self, shown: int | None = None) -> list[str]:
        """One line each: the first ``shown``, or all; then how many more there are."""
        listed = list(self._problems.items())[:shown]
        lines = [f"{file}, line {line:,}: {problem}" for (file, line), problem in listed]
        more = self.count - len(listed)
        return [*lines, f"and {more:,} more"] if more else lines

    def facts(self, shown: int = _NAMED) -> list[str]:
        """Lines for a report: how many were skipped and the first of them; nothing where none."""
        if not self._problems:
            return []
        rows = "1 bad row" if self.count == 1 else f"{self.count:,} bad rows"
        return [f"skipped {rows}:", *(f"  {line}" for line in self.lines(shown))]


def usable(rows: Iterable[Row], make: Callable[[Row], T], bad: BadRows) -> Iterator[T]:
    """What ``make`` makes of each row; one for which it raises a DataError is a bad row.

    Raises:
        DataError: where more rows are bad than allowed.
    """
    for row in rows:
        try:
            made = make(row)
        except DataError as error:
            bad.add(row.file, row.line, str(error))
        else:
            yield made
