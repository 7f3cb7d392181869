"""Small pieces of C text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import PurePath

from unrolled.ir import Equation

_NOT_PLAIN = r"[^\w .,:<>\[\]()-]"
_NO_NOTE = r"[^\w .,:;<>\[\]()*/+='-]"
_COLUMN = 60
"""Comments beside statements start here at the latest, but after the statement."""


def number(value: float) -> str:
    """A literal of the loop's precision."""
    if value == value and abs(value) != float("inf"):
        return f"(real){float(value)!r}"
    if value != value:
        return "NAN"
    return "INFINITY" if value > 0 else "(-INFINITY)"


def place(equation: Equation) -> str:
    """The place in the user's source that an equation comes from, or nothing where it has none."""
    if equation.location is None:
        return ""
    return f"{PurePath(equation.location.file).name}:{equation.location.line}"


def equation_comment(equation: Equation) -> str:
    """A line of comment with the equation, as the plan prints it, and its place."""
    return note(f"{replace(equation, location=None)}   {place(equation)}".rstrip())


def note(text: str) -> str:
    """A comment to the end of the line; it is the user's text and stays on its line."""
    return f"// {re.sub(_NO_NOTE, '_', text)}"


def plain(text: str) -> str:
    """A text for a comment, which must not end it: saved equations may come from anyone."""
    return re.sub(_NOT_PLAIN, "_", text)


def aligned(rows: Iterable[tuple[str, str]]) -> list[str]:
    """Statements, each with what is to be said of it in a column beside them."""
    pairs = list(rows)
    width = min(_COLUMN, max((len(code) for code, text in pairs if text), default=0))
    return [f"{code:<{width}}  {note(text)}" if text else code for code, text in pairs]


def indent(lines: list[str], levels: int) -> str:
    """Lines as one text, indented."""
    return "\n".join("    " * levels + line if line else line for line in lines)
