"""What a report is made of: sections, each with a finding, pictures, tables and notes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from unrolled.inspect.numerals import typeset

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tone = Literal["plain", "good", "warning"]


@dataclass(frozen=True)
class Table:
    """Rows under one heading.

    Attributes:
        caption: What the rows are.
        columns: The heads of the columns.
        rows: A text for each column; the first names the row.
        words: The columns, from 0, that hold words rather than numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[int] = frozenset()

    @staticmethod
    def of(caption: str, rows: Sequence[Mapping[str, object]]) -> Table:
        """From rows by column, in which numbers are shown with four digits."""
        columns = tuple(dict.fromkeys(name for row in rows for name in row))
        shown = tuple(tuple(in_words(row.get(name)) for name in columns) for row in rows)
        words = (
            i
            for i, name in enumerate(columns)
            if any(isinstance(row.get(name), (str, bool)) for row in rows)
        )
        return Table(caption, columns, shown, frozenset(words))


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure of matplotlib's.

    Attributes:
        name: The file's name without its ending.
        figure: What is drawn.
        caption: What is to be seen, also for who can't see it.
    """

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Drawing:
    """Markup that this package made itself, MathML or SVG; it goes into the page as it is.

    Attributes:
        name: The file's name without its ending; "" for what becomes no file.
        markup: The markup. Names that a user chose are escaped in it.
        caption: What is to be seen.
        kind: What the markup is.
    """

    name: str
    markup: str
    caption: str
    kind: Literal["svg", "mathml"] = "svg"


@dataclass(frozen=True, eq=False)
class Section:
    """One instrument's part of the report.

    Attributes:
        name: As the command line knows it; the anchor on the page.
        title: The heading.
        finding: What was measured, in a sentence or two; the page begins with all findings.
        verdict: The finding in a word or two, such as "vanishing"; may be empty.
        tone: Whether the verdict is good news.
        drawings: Our own markup.
        pictures: Figures.
        tables: Numbers.
        notes: How it was measured and how to read it, a paragraph each.
    """

    name: str
    title: str
    finding: str
    verdict: str = ""
    tone: Tone = "plain"
    drawings: tuple[Drawing, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


def percent(share: float) -> str:
    """A share of 1 as text."""
    return f"{100 * share:.0f} %"


def in_words(value: object) -> str:
    """A table's entry as text: four digits of a number, a dash for nothing."""
    if value is None or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return typeset(f"{value:,}")
    if isinstance(value, float):
        shown = f"{value:,.4g}" if not 1e3 <= abs(value) < 1e15 else f"{value:,.0f}"
        return typeset(shown)
    if isinstance(value, (tuple, list)):
        return " × ".join(in_words(part) for part in value)
    return str(value)


def in_sentence(value: object) -> str:
    """A number as a sentence has it: three digits, two of what is below 1."""
    if isinstance(value, float) and math.isfinite(value):
        value = float(f"{value:.{3 if abs(value) >= 1 else 2}g}")
    return in_words(value)
