r"""Our LaTeX as MathML, which browsers typeset themselves: equations without scripts or fonts.

The LaTeX of :mod:`unrolled.latex` is a small language: names, groups, sub- and superscripts, a few
commands and the environments ``aligned``, ``bmatrix`` and ``cases``.  Browsers implement MathML
Core, which takes alignment from CSS alone, so that each cell of a table carries its own style.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from html import escape

from unrolled.latex import GREEK

_TOKEN = re.compile(r"\\\\|\\[a-zA-Z]+|\\.|[^\W\d_]+|\d+(?:\.\d+)?|\S")
_OPERATORS = {
    "odot": "⊙", "cdot": "·", "le": "≤", "ge": "≥", "ne": "≠", "land": "∧", "lor": "∨", "lnot": "¬",
    "ldots": "…", "sum": "∑",
}  # fmt: skip
_IDENTIFIERS = {"infty": "∞", "top": "⊤", **GREEK}
_ACCENTS = {"tilde": "~", "hat": "^", "bar": "¯"}
_CLOSING = {"(": ")", "[": "]", "\\lvert": "\\rvert"}
_SIGNS = {"-": "−", "*": "∗"}
_LETTERS = ("<mi", "<msub", "<mover")
_TALL = ("<mfrac", "<mtable", "<msqrt")
_IN_TABLE = {"\\\\", "&", "\\end"}
_STYLE = {"right": "text-align:right;padding:.2em 0", "left": "text-align:left;padding:.2em 0"}


def mathml(latex: str) -> str:
    """What :func:`unrolled.latex.latex` gives as one ``<math>`` element, a row an equation."""
    content = _Reader(_TOKEN.findall(latex)).row(frozenset())
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">{content}</math>'


class _Reader:
    """Reads tokens from the left; every method takes what it has read."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens[::-1]

    def next(self) -> str:
        return self.tokens[-1] if self.tokens else ""

    def take(self) -> str:
        return self.tokens.pop() if self.tokens else ""

    def row(self, ends: frozenset[str]) -> str:
        """Elements up to one of these tokens, which is left, as one row."""
        parts: list[str] = []
        while self.tokens and self.next() not in ends:
            part = self.scripted(ends)
            if parts and parts[-1].startswith(_LETTERS) and part.startswith(_LETTERS):
                parts.append('<mspace width="0.15em"/>')  # between a matrix and its vector
            parts.append(part)
        return f"<mrow>{''.join(parts)}</mrow>"

    def scripted(self, ends: frozenset[str]) -> str:
        """An element with its primes, subscript and superscript."""
        base, below, above = self.element(ends), "", ""
        while self.next() in ("'", "_", "^"):
            mark = self.take()
            if mark == "'":
                above += "<mo>′</mo>"
            elif mark == "_":
                below = self.argument()
            else:
                above += self.argument()
        if below and above:
            return f"<msubsup>{base}{below}<mrow>{above}</mrow></msubsup>"
        if below:
            return f"<msub>{base}{below}</msub>"
        return f"<msup>{base}<mrow>{above}</mrow></msup>" if above else base

    def argument(self) -> str:
        """A group, or the one element that stands for it."""
        if self.next() == "{":
            return self.group()
        return self.element(frozenset())

    def group(self) -> str:
        self.take()
        inside = self.row(frozenset("}"))
        self.take()
        return inside

    def element(self, ends: frozenset[str]) -> str:
        token = self.take()
        if token == "{":
            self.tokens.append(token)
            return self.group()
        if token == "\\left":
            token = self.take()
        if token in _CLOSING:
            return self.fenced(token, ends)
        if token.startswith("\\"):
            return self.command(token[1:])
        if token[:1].isdigit():
            return f"<mn>{token}</mn>"
        if token[:1].isalpha():
            return f"<mi>{escape(token)}</mi>"
        if token == ":":
            return '<mo lspace="0" rspace="0">:</mo>'
        return f"<mo>{escape(_SIGNS.get(token, token))}</mo>"

    def fenced(self, opening: str, ends: frozenset[str]) -> str:
        """A pair of brackets with what is between them, as high as that is."""
        closing = _CLOSING[opening]
        inside = self.row((ends & _IN_TABLE) | {closing, "\\right"})
        if self.next() == "\\right":
            self.take()
        closed = self.take() == closing
        left, right = ("|", "|") if opening == "\\lvert" else (opening, closing)
        grows = "true" if any(tall in inside for tall in _TALL) else "false"
        after = f'<mo form="postfix" stretchy="{grows}">{right}</mo>' if closed else ""
        return f'<mrow><mo form="prefix" stretchy="{grows}">{left}</mo>{inside}{after}</mrow>'

    def command(self, name: str) -> str:
        made: dict[str, Callable[[], str]] = {
            "frac": lambda: f"<mfrac>{self.argument()}{self.argument()}</mfrac>",
            "sqrt": lambda: f"<msqrt>{self.argument()}</msqrt>",
            "begin": self.environment,
            "mathrm": self.word,
            "operatorname": self.word,
            "text": lambda: f"<mtext>{self.letters()}</mtext>",
            ",": lambda: '<mspace width="0.17em"/>',
            "textstyle": lambda: "",
        }
        if name in made:
            return made[name]()
        if name in _ACCENTS:
            accent = f"<mo stretchy='false'>{_ACCENTS[name]}</mo>"
            return f'<mover accent="true">{self.argument()}{accent}</mover>'
        if name in _OPERATORS:
            return f"<mo>{_OPERATORS[name]}</mo>"
        if name in _IDENTIFIERS:
            upright = ' mathvariant="normal"' if name[0].isupper() else ""
            return f"<mi{upright}>{_IDENTIFIERS[name]}</mi>"
        return f"<mi>{escape(name)}</mi>"

    def letters(self) -> str:
        """The characters of a group as they stand."""
        self.take()
        taken: list[str] = []
        while self.tokens and self.next() != "}":
            taken.append(self.take())
        self.take()
        return escape("".join(taken))

    def word(self) -> str:
        return f'<mi mathvariant="normal">{self.letters()}</mi>'

    def environment(self) -> str:
        name = self.letters()
        rows: list[list[str]] = [[]]
        while True:
            rows[-1].append(self.row(frozenset(_IN_TABLE)))
            end = self.take()
            if end == "\\\\":
                rows.append([])
            elif end != "&":
                break
        self.letters()
        if name == "aligned":
            return _table(rows, ("right", "left"))
        table = _table(rows, ("left", "left"))
        if name == "cases":
            return f'<mrow><mo form="prefix" fence="true">{{</mo>{table}</mrow>'
        before, after = '<mo form="prefix" fence="true">[</mo>', '<mo form="postfix" fence="true">'
        return f"<mrow>{before}{table}{after}]</mo></mrow>"


def _table(rows: list[list[str]], sides: tuple[str, str]) -> str:
    """A table whose cells stand at these sides of their columns."""
    lines: list[str] = []
    for row in rows:
        cells = [
            f'<mtd style="{_STYLE[sides[min(k, 1)]]}">{cell}</mtd>' for k, cell in enumerate(row)
        ]
        lines.append(f"<mtr>{''.join(cells)}</mtr>")
    return f'<mtable displaystyle="true">{"".join(lines)}</mtable>'
