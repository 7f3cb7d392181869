"""Properties of a text, character by character, that a unit may have learnt to follow.

A network's state after a character has read it, so the property is what holds *after* it: an
opening quotation mark is inside of its quotation, the closing one is not; a line end is at
position 0.

**Quotations.** ``"`` opens and closes by turns. “ ” and « » are pairs, as are „ “ and » «; the
mark that closes one closes what was left open within it, and one that nothing opened is none.
A quotation that never closes lasts to the end of its paragraph, a blank line, as that of a speech
over several paragraphs does, so a lost mark turns nothing round beyond it.  Single marks, ' and ‘,
are a property of their own: an apostrophe between letters (*don't*) is none, and one that could
open (after a space, as in *'tis*) does so only where one that could close follows in its paragraph.

**Brackets.** ( ), [ ] and { } count in pairs, nested to any depth, over blank lines too; one
without a partner, such as that of ``:)`` or ``1)``, is no bracket, and neither are those that a
pair around them leaves open: in ``( [ )`` only the round ones count.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
"""Of each character: bool for a mask, numbers for a quantity."""

_PARAGRAPH = re.compile(r"\n[^\S\n]*\n")
_BRACKETS = {"(": ")", "[": "]", "{": "}"}
_QUOTED = {'"': '"', "“": "”", "„": "“", "«": "»", "»": "«"}
_SINGLE_OPEN = re.compile(r"(?<!\w)['‘](?=\S)")
_SINGLE_CLOSE = re.compile(r"(?<=\S)['’](?!\w)")


def inside_quotes(text: str) -> Values:
    """Whether a quotation in double marks is open after each character: bool ``[len(text)]``."""
    found = np.zeros(len(text), bool)
    for start, stop in _paragraphs(text):
        waited = _Waited()
        for at in range(start, stop):
            mark = text[at]
            closes = waited.closed_by(mark)
            # A » that opens has a letter behind it; one that nothing opened has none.
            opens = mark in _QUOTED and (mark != "»" or text[at + 1 : at + 2].strip())
            if opens and not closes:
                waited.add(at, _QUOTED[mark])
            found[at] = bool(waited.places)
    return found


def inside_single_quotes(text: str) -> Values:
    """Whether a quotation in single marks is open after each character: bool ``[len(text)]``."""
    found = np.zeros(len(text), bool)
    for start, stop in _paragraphs(text):
        at = start
        while begin := _SINGLE_OPEN.search(text, at, stop):
            end = _SINGLE_CLOSE.search(text, begin.end() + 1, stop)
            if end is None:
                break
            found[begin.start() : end.start()] = True
            at = end.end()
    return found


def bracket_depth(text: str) -> Values:
    """How many brackets are open after each character: int64 ``[len(text)]``."""
    change = np.zeros(len(text), np.int64)
    waited = _Waited()
    for at, mark in enumerate(text):
        own = waited.closed_by(mark)
        if own:
            change[own[0]], change[at] = 1, -1
        elif mark in _BRACKETS:
            waited.add(at, _BRACKETS[mark])
    return change.cumsum()


def inside_brackets(text: str) -> Values:
    """Whether a bracket is open after each character: bool ``[len(text)]``."""
    return bracket_depth(text) > 0


def position_in_line(text: str) -> Values:
    """How many characters of its line have been read: int64 ``[len(text)]``, 0 at a line end."""
    at = np.arange(1, len(text) + 1)
    ends = np.fromiter((mark == "\n" for mark in text), bool, len(text))
    return at - np.maximum.accumulate(np.where(ends, at, 0))


def start_of_word(text: str) -> Values:
    """Whether each character is the first of a word: bool ``[len(text)]``.

    What stands behind an apostrophe within a word (*don't*) begins none.
    """
    starts = re.finditer(r"(?<!\w)(?<!\w['’])\w", text)
    found = np.zeros(len(text), bool)
    found[[m.start() for m in starts]] = True
    return found


def _each(holds: Callable[[str], bool]) -> Callable[[str], Values]:
    return lambda text: np.fromiter((holds(mark) for mark in text), bool, len(text))


def matches(pattern: str) -> Callable[[str], Values]:
    """Whether each character is part of a match of a regular expression, as :mod:`re` has it.

    Raises:
        ValueError: where it is none.
    """
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None

    def found(text: str) -> Values:
        values = np.zeros(len(text), bool)
        for match in compiled.finditer(text):
            values[match.start() : match.end()] = True
        return values

    return found


PROPERTIES: Mapping[str, Callable[[str], Values]] = {
    "inside quotes": inside_quotes,
    "inside single quotes": inside_single_quotes,
    "inside brackets": inside_brackets,
    "bracket depth": bracket_depth,
    "position in line": position_in_line,
    "start of word": start_of_word,
    "space": _each(str.isspace),
    "upper case": _each(str.isupper),
    "digit": _each(str.isdigit),
}
"""What every unit is compared with."""


@dataclass
class _Waited:
    """What is open, by the marks that close it; each place is put in and taken out once."""

    places: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])
    counts: Counter[str] = field(default_factory=Counter[str])

    def add(self, place: int, closing: str) -> None:
        self.places.append((place, closing))
        self.counts[closing] += 1

    def closed_by(self, mark: str) -> tuple[int] | None:
        """Where what this mark closes began; what was left open within it is closed too."""
        if not self.counts[mark]:
            return None
        while True:
            place, closing = self.places.pop()
            self.counts[closing] -= 1
            if closing == mark:
                return (place,)


def _paragraphs(text: str) -> list[tuple[int, int]]:
    """Where each paragraph begins and ends; blank lines belong to none."""
    found: list[tuple[int, int]] = []
    start = 0
    for blank in _PARAGRAPH.finditer(text):
        found.append((start, blank.start()))
        start = blank.end()
    return [*found, (start, len(text))]
