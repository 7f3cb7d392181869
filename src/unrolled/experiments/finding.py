"""What an experiment says: claims of the notes, what was measured, and whether they agree.

Nothing here is typed: a module's rules make each sentence and each verdict of the measured numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["holds", "holds in part", "does not hold", "not shown"]

Progress = Callable[[str, float], None]
"""Told what is being done, and the share of the whole that is done."""


@dataclass(frozen=True)
class Finding:
    """One claim, put to the test.

    Attributes:
        claim: What the notes say, in a sentence.
        verdict: Whether the numbers agree.
        measured: The numbers, in words.
    """

    claim: str
    verdict: Verdict
    measured: str


@dataclass(frozen=True)
class Table:
    """Numbers for reading.

    Attributes:
        columns: Their names, with units.
        rows: As many cells each.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self) -> str:
        """In columns for a terminal."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.columns))]
        return "\n".join(_line(line, widths) for line in lines)

    def markdown(self) -> str:
        """As a page has it."""
        rule = tuple("---" for _ in self.columns)
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.columns, rule, *self.rows))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = (
        cell.ljust(width) if k == 0 else cell.rjust(width)
        for k, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return "  ".join([first, *others]).rstrip()


def silent(doing: str, share: float) -> None:
    """A progress that nobody watches."""
