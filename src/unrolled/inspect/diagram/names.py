"""Identifiers as they are typeset: ``W_ih`` as W with a subscript, ``c_tilde`` as c̃."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unrolled.latex import ACCENTS, GREEK

Style = Literal["plain", "name", "sub"]


@dataclass(frozen=True)
class Run:
    """Letters of one style: upright, a variable's, or a subscript's."""

    text: str
    style: Style = "plain"


Text = tuple[Run, ...]


def plain(text: str) -> Text:
    """Upright letters."""
    return (Run(text),)


def typeset(name: str, time: str = "") -> Text:
    """A variable's name, with the time that it is of: ``h`` at ``t−1``."""
    base, *rest = [part for part in name.split("_") if part] or [name]
    text, below = GREEK.get(base, base), list[str]()
    for part in rest:
        if part in ("t", "prev") and time:
            continue
        if part == "prime":
            text += "′"
        elif part in ACCENTS:
            text += ACCENTS[part]
        else:
            below.append(GREEK.get(part, part))
    below += [time] if time else []
    return (Run(text, "name"), *([Run(",".join(below), "sub")] if below else []))


def width(text: Text, size: float = 13.0) -> float:
    """An upper estimate of its width; a third of an em more for what is wide."""
    total = 0.0
    for run in text:
        scale = 0.75 if run.style == "sub" else 1.0
        total += scale * size * sum(_em(character) for character in run.text)
    return total


def _em(character: str) -> float:
    if "\u0300" <= character < "\u0370":
        return 0.0
    if character in "iljtfr.,:;|()[]'′ ":
        return 0.42
    if character in "mwMW@%" or character > "\u1100":
        return 1.0
    return 0.74 if character.isupper() else 0.64
