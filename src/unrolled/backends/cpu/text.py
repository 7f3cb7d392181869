"""Small pieces of C text."""

from __future__ import annotations

import re
from pathlib import PurePath

from unrolled.ir import Equation


def number(value: float) -> str:
    """A literal of the loop's precision."""
    if value == value and abs(value) != float("inf"):
        return f"(real){float(value)!r}"
    if value != value:
        return "NAN"
    return "INFINITY" if value > 0 else "(-INFINITY)"


def comment(equation: Equation) -> str:
    """The place in the user's source that an equation comes from."""
    if equation.location is None:
        return ""
    return f"  // {plain(PurePath(equation.location.file).name)}:{equation.location.line}"


def plain(text: str) -> str:
    """A text for a comment, which must not end it: saved equations may come from anyone."""
    return re.sub(r"[^\w .,:<>\[\]()-]", "_", text)


def indent(lines: list[str], levels: int) -> str:
    """Lines as one text, indented."""
    return "\n".join("    " * levels + line if line else line for line in lines)
