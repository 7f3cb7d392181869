"""Small pieces of C text: numbers, sizes, wrapped rows of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from unrolled.sizes import Size, evaluate

WIDTH = 96


def real(value: float) -> str:
    """A float32 literal: the shortest that is read as the same number."""
    with np.errstate(over="ignore"):
        text = _literal(np.float32(value))
    return f"({text})" if text.startswith("-") else text


def _literal(value: np.float32) -> str:
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    return f"{value!s}f"


def double(value: float) -> str:
    """A double literal: the shortest that is read as the same number."""
    if math.isnan(value):
        return "(double)NAN"
    if math.isinf(value):
        return "(double)INFINITY" if value > 0 else "-(double)INFINITY"
    return repr(float(value))


def floats(values: npt.NDArray[np.float32]) -> list[str]:
    """Literals of all numbers of an array, in row-major order."""
    return [_literal(v) for v in values.reshape(-1)]


def rows(items: Iterable[str]) -> list[str]:
    """Items of an initialiser, in lines of at most ``WIDTH`` characters."""
    lines: list[str] = []
    line = "   "
    for item in items:
        if len(line) + len(item) + 2 > WIDTH and line.strip():
            lines.append(line)
            line = "   "
        line += f" {item},"
    return [*lines, line] if line.strip() else lines


_SPELLED = re.compile(r"[A-Za-z0-9_ ()*+-]+")


def size(value: int, known: Mapping[str, int]) -> str:
    """A length over the sizes' names where they say it, else its number."""
    text = str(value)
    if isinstance(value, Size) and value.terms and _SPELLED.fullmatch(text) and text[0] != "-":
        try:
            said = int(evaluate(text, known))
        except (KeyError, ValueError, SyntaxError):
            said = -1
        if said == int(value):
            return text.replace("*", " * ")
    return str(int(value))


def times(index: str, stride: str) -> str:
    """``index * stride``, which is short where either is 1 or 0."""
    if stride == "0" or index == "0":
        return "0"
    if stride == "1":
        return index
    return f"{index} * {_factor(stride)}"


def _factor(text: str) -> str:
    return f"({text})" if re.search(r" [+-] ", text) else text


def added(terms: Iterable[str]) -> str:
    """The sum of index terms, without zeros."""
    kept = [t for t in terms if t != "0"]
    return " + ".join(kept) or "0"
