"""Pieces of text as a picture's font can show them."""

from __future__ import annotations

import unicodedata

_MARKS = {"\n": "⏎", "\t": "⇥", " ": "␣", "\r": "←"}
_MISSING = "□"


def printable(piece: str, font: str = "DejaVu Sans", most: int = 8) -> str:
    """A token as a label: space and line end by marks, what the font lacks as a box.

    Args:
        piece: What the token stands for.
        font: The font that will be used.
        most: How many characters are shown at most.
    """
    from matplotlib.font_manager import FontProperties, findfont, get_font

    known = get_font(findfont(FontProperties(family=font)))
    shown: list[str] = []
    for mark in unicodedata.normalize("NFC", piece):
        mark = _MARKS.get(mark, mark)
        if unicodedata.category(mark) in ("Mn", "Me", "Cf"):
            continue  # what joins others or stands on them can't stand alone
        there = unicodedata.category(mark)[0] != "C" and known.get_char_index(ord(mark))
        # A $ would begin a formula.
        shown.append(mark.replace("$", r"\$") if there else _MISSING)
    return "".join(shown[: most - 1]) + "…" if len(shown) > most else "".join(shown)
