"""What a search may choose from: ranges and lists of values for the fields of a configuration."""

from __future__ import annotations

import difflib
import math
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unrolled.errors import UserError

_RANGE = re.compile(r"(?P<log>log:)?(?P<low>[-+.\deE]+):(?P<high>[-+.\deE]+)")
_FORMS = "low:high, log:low:high, or values with commas between them"


@dataclass(frozen=True)
class Range:
    """Numbers between two, which count.

    Attributes:
        low: The lowest.
        high: The highest.
        log: Whether each factor is as likely as any other, instead of each difference.
        whole: Whether they are whole numbers.
    """

    low: float
    high: float
    log: bool
    whole: bool


@dataclass(frozen=True)
class Choice:
    """Some values.

    Attributes:
        values: By how they were written.
    """

    values: Mapping[str, Any]


Space = Mapping[str, Range | Choice]


def parse(
    specifications: Mapping[str, str], hints: Mapping[str, Any], value: Callable[[str, str], Any]
) -> Space:
    """The space that specifications describe, such as ``{"learning_rate": "log:1e-4:1e-2"}``.

    Args:
        specifications: For each field ``low:high`` or ``log:low:high`` where it is a number, or
            values with commas between them. Commas within parentheses don't count.
        hints: The types of all fields.
        value: What a text means for a field; it raises where it means nothing.

    Raises:
        UserError: where there is no such field, or the text is no space.
    """
    if not specifications:
        raise UserError(
            "there is nothing to search: name a field, as in --search learning_rate=log:1e-4:1e-2"
        )
    for name in specifications:
        if name not in hints:
            close = difflib.get_close_matches(name, hints, 1)
            advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(hints)}"
            raise UserError(f"there is no field {name!r} to search: {advice}")
    return {name: _part(name, text, hints, value) for name, text in specifications.items()}


def read_flags(words: Sequence[str]) -> dict[str, str]:
    """The specifications of ``name=…`` words.

    Raises:
        UserError: where a word is none, or a name comes twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        name = name.strip().replace("-", "_")
        if not equals or not name or not text.strip():
            raise UserError(f"--search takes name=…, with {_FORMS}; not {word!r}")
        if name in found:
            raise UserError(f"--search gives {name} twice")
        found[name] = text.strip()
    return found


def _part(
    name: str, text: str, hints: Mapping[str, Any], value: Callable[[str, str], Any]
) -> Range | Choice:
    options = typing.get_args(hints[name]) or (hints[name],)
    form = _RANGE.fullmatch(text)
    if form and (int in options or float in options):
        return _range(name, text, form, whole=float not in options)
    pieces = [piece.strip() for piece in _split(text)]
    if len(set(pieces)) != len(pieces) or "" in pieces:
        raise UserError(f"{name}={text}: a value is missing, or comes twice")
    return Choice({piece: value(name, piece) for piece in pieces})


def _range(name: str, text: str, form: re.Match[str], *, whole: bool) -> Range:
    read = int if whole else float
    try:
        low, high = read(form["low"]), read(form["high"])
    except ValueError:
        kind = "whole numbers" if whole else "numbers"
        raise UserError(f"{name}={text}: expected {kind} on both sides of the colon") from None
    if not -math.inf < low < high < math.inf:
        raise UserError(f"{name}={text}: the first number must be below the second")
    if form["log"] and low <= 0:
        raise UserError(f"{name}={text}: a range by factors begins above 0")
    return Range(low, high, bool(form["log"]), whole)


def _split(text: str) -> list[str]:
    """At the commas outside of all parentheses."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth <= 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts
