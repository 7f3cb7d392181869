r"""Equations as plain text: LaTeX, as our own typesetter writes it, without its commands.

``h_{t} &= o_{t} \odot \tanh(c_{t})`` becomes ``h[t] = o[t] ⊙ tanh(c[t])``. The LaTeX of the op
table is a small language of groups, sub- and superscripts and a few commands; what is not known
stays as it is written.
"""

from __future__ import annotations

import re
import unicodedata

from unrolled.cell import Cell
from unrolled.errors import CellError
from unrolled.latex import ACCENTS, GREEK, latex

_TOKEN = re.compile(r"\\\\|\\[a-zA-Z]+|\\.|[{}^_]|\s+|[^\\{}^_\s]")
_SYMBOLS = {
    "odot": "⊙", "cdot": "·", "infty": "∞", "le": "≤", "ge": "≥", "ne": "≠", "land": "∧",
    "lor": "∨", "lnot": "¬", "ldots": "…", "sum": "Σ", "top": "T",
    "left": "", "right": "", "textstyle": "",
    **GREEK,
}  # fmt: skip
_NAMES = {"operatorname", "mathrm", "text"}
_BAR = "\\rvert"
_TIMES = {"t", "t-1"}


def equations(cell: Cell) -> str:
    """A cell's equations, one a line, their signs of equality below each other."""
    body = typeset(cell).removeprefix("\\begin{aligned}\n").removesuffix("\n\\end{aligned}")
    rows = [_plain(line).split("&=") for line in body.split(" \\\\\n")]
    sides = [(left.strip(), right.strip()) for left, right in rows]
    width = max(_width(left) for left, _ in sides)
    return "\n".join(f"{left}{' ' * (width - _width(left))} = {right}" for left, right in sides)


def typeset(cell: Cell) -> str:
    """A cell's equations as LaTeX, also of one that needs its input as long as its state.

    Raises:
        CellError: where the cell runs at no such sizes.
    """
    sizes = cell.example_sizes()
    try:
        return latex(cell.graph(sizes))
    except CellError:
        return latex(cell.graph({**sizes, "D": sizes["H"]}))


def _width(text: str) -> int:
    return sum(not unicodedata.combining(character) for character in text)


def _plain(latex: str) -> str:
    text = _Reader(_TOKEN.findall(latex)).until(None)
    return re.sub(r" {2,}", " ", text.replace(" ; ", "; "))


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens[::-1]

    def until(self, end: str | None) -> str:
        """The text up to and without the token ``end``, which is taken too."""
        parts: list[str] = []
        while self.tokens:
            token = self.tokens.pop()
            if token == end:
                break
            parts.append(self.part(token))
        return "".join(parts)

    def part(self, token: str) -> str:
        if token == "{":
            return self.until("}")
        if token == "_":
            return _subscript(self.argument())
        if token == "^":
            return _superscript(self.argument())
        if token == "\\\\":
            return "; "
        if not token.startswith("\\"):
            return token
        return self.command(token[1:])

    def command(self, name: str) -> str:
        if name in ACCENTS:
            base = self.argument()
            return base[:1] + ACCENTS[name] + base[1:]
        if name in _NAMES:
            return self.argument()
        if name == "frac":
            return f"({_within(self.argument())} / {_within(self.argument())})"
        if name == "sqrt":
            return f"sqrt({self.argument()})"
        if name == "begin":
            return self.environment(self.argument())
        if name == "lvert":
            return f"|{self.until(_BAR).strip()}|"
        if name == ",":
            return " "
        return _SYMBOLS.get(name, name)

    def environment(self, name: str) -> str:
        inside: list[str] = []
        while self.tokens[-1:] != ["\\end"]:
            inside.append(self.part(self.tokens.pop()))
        self.tokens.pop()
        self.argument()
        text = "".join(inside).strip()
        if name != "cases":
            return f"[{text}]"
        yes, no = text.split("; ")
        (chosen, condition), (other, _) = (row.split("&") for row in (yes, no))
        return f"({chosen.strip()} if {condition.strip()} else {other.strip()})"

    def argument(self) -> str:
        token = self.tokens.pop()
        while token.isspace():
            token = self.tokens.pop()
        return self.part(token)


def _subscript(text: str) -> str:
    """Times in brackets, as a sequence's; a name's parts joined to it."""
    *names, last = text.split(", ")
    if last not in _TIMES:
        return "".join(f"_{name}" for name in (*names, last))
    return "".join(f"_{name}" for name in names) + f"[{last}]"


def _superscript(text: str) -> str:
    return f"^{_within(text)}"


def _within(text: str) -> str:
    """In parentheses where an operator stands outside of all brackets."""
    depth = 0
    for character in text:
        depth += (character in "([") - (character in ")]")
        if character == " " and depth == 0:
            return f"({text})"
    return text
