"""Drawn cells: the source of a step function, put together from forms, that is then compiled.

A drawn cell is Python text, so that it is traced as a user's own cell is (names, lines, loops and
helper functions included) and a failing example can be read, copied and run.  What a line
computes is read by another line, a state, the output or, now and then, by a further output that
nobody asks for; so no parameter is unused.
"""

from __future__ import annotations

import linecache
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from typing import Any

import torch
from hypothesis import strategies as st
from torch.nn import functional as F

from oracle.blanks import Blanks, Choose, Value
from oracle.forms import BOUNDED, FORMS, HELPERS, Form
from unrolled.cell import Cell

LARGEST = 100
"""The most elements that a value may have."""

STATES = {"h": "H", "c": "H", "p": "P"}
"""The states that a cell may have; it has the first at least."""

UPDATES = (
    "{s}", "torch.tanh({s})", "0.5 * {old} + 0.5 * {s}", "0.75 * {old} - 0.25 * {s}",
    "0.5 * ({s} - {old}.sin())", "blend(torch.sigmoid({old}), {s}, {old})",
)  # fmt: skip
"""How a new state is made of a value ``s``; none leads further out than both."""


@dataclass(frozen=True)
class DrawnCell:
    """The source of a cell, and the sizes that it was written for."""

    source: str
    sizes: tuple[tuple[str, int], ...]

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={size}" for name, size in self.sizes)
        return f"a cell for {given}:\n\n{self.source}\n"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """How hypothesis shows a failing example."""
        printer.text(repr(self))

    @property
    def cell(self) -> Cell:
        """The cell that the source defines."""
        return _defined(self.source)


_number = count()


@lru_cache(maxsize=1)
def _defined(source: str) -> Cell:
    name = f"<drawn cell {next(_number)}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    namespace: dict[str, Any] = {}
    exec(compile(source, name, "exec"), namespace)
    return namespace["drawn"]


class _Author:
    """Writes a cell line by line."""

    def __init__(self, choose: Choose) -> None:
        self.choose = choose
        self.blanks = Blanks(choose)
        self.lines: list[str] = []
        self.helpers: dict[str, Any] = {"torch": torch, "F": F}
        exec("\n".join(HELPERS.values()), self.helpers)
        sizes = self.blanks.sizes
        self.given = [self.blanks.new("x", (sizes["D"],))]
        for name, size in STATES.items():
            if name == "h" or choose((True, False)):
                self.given.append(self.blanks.new(name, (sizes[size],)))

    def write(self, form: Form) -> None:
        """Add a form's line; one whose result would be too large is left out, blanks and all."""
        name = f"v{len(self.lines)}"
        with self.blanks.attempt() as undo:
            text = self.blanks.fill(form.text, name)
            if form.wild:
                text = self.choose(BOUNDED).format(text)
            lines = text if form.text.startswith("{name}") else f"{name} = {text}"
            namespace = {**self.helpers, **self.blanks.examples}
            exec(lines, namespace)
            result = namespace[name]
            parts = result if isinstance(result, tuple) else (result,)
            if max(part.numel() for part in parts) > LARGEST or len(parts) > 7:
                undo()
                return
        names = [name]
        if isinstance(result, tuple):
            names = [f"{name}_{k}" for k in range(len(parts))]
            lines = f"{', '.join(names)}{',' * (len(names) == 1)} = {text}"
        fixed = all(v.fixed for v in self.blanks.operands(lines))
        self._add(lines)
        self.blanks.values += [Value(n, p, fixed) for n, p in zip(names, parts, strict=True)]

    def _add(self, lines: str) -> None:
        self.lines += lines.split("\n")
        for value in self.blanks.operands(lines):
            value.read = True

    def finish(self) -> DrawnCell:
        """Close the cell: new states, and an output that reads all that nobody has read."""
        after = [self._next(state) for state in self.given[1:]]
        results = ", ".join(after)
        unread = [v for v in self.blanks.values if not v.read and v not in self.given]
        further = ""
        if len(unread) > 1 and self.choose((False, False, True)):
            further = f", {{'further': {unread.pop(0).name}}}"
        if unread:
            parts = [_as_vector(v) for v in unread]
            y = parts[0] if len(parts) == 1 else f"torch.cat([{', '.join(parts)}])"
            self.lines.append(f"return {y}, ({results},){further}")
        elif len(after) == 1 or self.choose((True, False)):
            self.lines.append(f"return {results}")
        else:
            self.lines.append(f"return {after[-1]}, ({results},)")
        return DrawnCell(self._source(), tuple(self.blanks.sizes.items()))

    def _next(self, old: Value) -> str:
        def fits(v: Value) -> bool:
            return v.real and v.shape == old.shape and not v.fixed

        unread = [v for v in self.blanks.values if fits(v) and not v.read]
        source = self.blanks.pick(lambda v: v in unread if unread else fits(v))
        if not unread:
            vector = self.blanks.vector()
            length = self.blanks.examples[vector].shape[0]
            weight = self.blanks.parameter((*old.shape, length))
            source = f"torch.tanh({weight.name} @ {vector} + {source})"
        update = self.choose(UPDATES).format(s=source, old=old.name)
        self._add(f"new_{old.name} = {update}")
        return f"new_{old.name}"

    def _source(self) -> str:
        body = "\n".join(f"    {line}" for line in self.lines)
        helpers: list[str] = []
        for text in reversed(HELPERS.values()):
            name = text.partition("(")[0].removeprefix("def ")
            if re.search(rf"\b{name}\(", "".join((body, *helpers))):
                helpers.insert(0, text)
        states = [
            v.name if STATES[v.name] == "H" else f'{v.name}=state("{STATES[v.name]}")'
            for v in self.given[1:]
        ]
        parameters = self.blanks.parameters
        signature = ["x", *states, *(["*", *parameters] if parameters else [])]
        return "\n".join(
            (
                "import torch", "from torch.nn import functional as F", "",
                "from unrolled import cell, param, state", "", *self.blanks.constants, "",
                *helpers, "@cell", f"def drawn({', '.join(signature)}):", body,
            )
        )  # fmt: skip


def _as_vector(v: Value) -> str:
    name = v.name if v.example.dtype is torch.float64 else f"{v.name}.to(x.dtype)"
    return name if len(v.shape) == 1 else f"{name}.reshape(-1)"


def written(choose: Choose, forms: Sequence[Form]) -> DrawnCell:
    """A cell with a line for each of these forms; ``choose`` makes the choices."""
    author = _Author(choose)
    for form in forms:
        author.write(form)
    return author.finish()


@st.composite
def drawn_cells(draw: st.DrawFn) -> DrawnCell:
    """Cells of up to 20 lines over all forms."""

    def choose(options: Sequence[Any]) -> Any:
        return options[draw(st.integers(0, len(options) - 1))]

    # The length is drawn by itself: most lists of hypothesis are as short as they may be.
    n = draw(st.integers(1, 20))
    return written(choose, [draw(st.sampled_from(FORMS)) for _ in range(n)])
