"""Names of composed cells: ``zoneout(layer_norm(lstm), c=0.1)``, as a command line gives them.

A name is read by Python's own parser and by a table of the functions that it may call: those of
``unrolled.combinators`` on a cell, with literals. Nothing of it is evaluated. The name that a
composed cell has itself is one that can be read again.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F

from unrolled import combinators
from unrolled.cell import Cell
from unrolled.errors import ModelError
from unrolled.proxy import FUNCTIONS

COMBINATORS: Mapping[str, Callable[..., Cell]] = {
    "initialised": combinators.initialised,
    "layer_norm": combinators.layer_norm,
    "project": combinators.project,
    "residual": combinators.residual,
    "rms_norm": combinators.rms_norm,
    "variational_dropout": combinators.variational_dropout,
    "with_activation": combinators.with_activation,
    "zoneout": combinators.zoneout,
}
"""What may stand before a parenthesis, from a cell to a cell."""

STARTS: Mapping[str, Callable[..., Any]] = {
    "Chrono": combinators.Chrono,
    "GateBias": combinators.GateBias,
    "Orthogonal": combinators.Orthogonal,
}
"""What may stand for a parameter's start in ``initialised``."""

# A cell in a file is no Python expression, so that it gets a name that is one; in quotes it is.
_FILE = re.compile(r"""'[^']*'|"[^"]*"|[^\s(),='"][^(),='"]*\.py:\w+""")
_QUOTES = "'\""
_PLACE = "__file_{}"


def is_composed(name: str) -> bool:
    """Whether a name is one of a composed cell; no other name ends so."""
    return name.rstrip().endswith(")")


def without_directories(name: str) -> str:
    """A cell's name without the directories of the files in it."""
    if is_composed(name):
        return _FILE.sub(_without_directories, name)
    return os.path.basename(name)


def _without_directories(found: re.Match[str]) -> str:
    quote = found[0][0] if found[0][0] in _QUOTES else ""
    return quote + os.path.basename(found[0][len(quote) :])


def compose(name: str, find: Callable[[str], Cell]) -> Cell:
    """The cell that is composed as ``name`` says.

    Args:
        name: Calls of :data:`COMBINATORS`, one within the other, on a cell. Their arguments are
            numbers, texts, True, False or None; for ``with_activation`` names of torch's functions;
            for ``initialised`` also calls of :data:`STARTS`.
        find: The cell inside, by its name or as ``file.py:function``.

    Raises:
        ModelError: where the name can't be read, or calls what is not in the tables.
        CellError: where a combinator refuses its cell or its arguments.
    """
    files: list[str] = []

    def hide(found: re.Match[str]) -> str:
        if found[0][0] in _QUOTES:
            return found[0]
        files.append(found[0])
        return _PLACE.format(len(files) - 1)

    hidden = _FILE.sub(hide, name.strip())
    try:
        tree = ast.parse(hidden, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ModelError(
            f"the cell {name!r} can't be read: expected calls one within the other, as in "
            "zoneout(layer_norm(lstm), c=0.1)"
        ) from error
    places = {_PLACE.format(k): file for k, file in enumerate(files)}
    return _Reader(name, places, find).cell(tree)


class _Reader:
    def __init__(self, name: str, places: Mapping[str, str], find: Callable[[str], Cell]) -> None:
        self.name, self.places, self.find = name, places, find

    def cell(self, node: ast.expr) -> Cell:
        """A cell by its name, as a text, or composed."""
        match node:
            case ast.Name(found):
                return self.find(self.places.get(found, found))
            case ast.Constant(str(found)):
                return self.find(found)
            case ast.Call(ast.Name(function), [inner, *positional], keywords):
                combinator = self.known(function, COMBINATORS)
                read = self.activation if function == "with_activation" else self.value
                arguments = [read(node) for node in positional]
                return self.called(
                    function, combinator, [self.cell(inner), *arguments], self.named(keywords, read)
                )
            case ast.Call(ast.Name(function), []):
                self.known(function, COMBINATORS)
                raise self.wrong(f"{function}() has no cell: it stands first, {function}(lstm, …)")
            case _:
                raise self.wrong(
                    f"{ast.unparse(node)} is no cell: it is a name such as lstm, file.py:function, "
                    f"or a call of {_listed(COMBINATORS)}"
                )

    def value(self, node: ast.expr) -> Any:
        """An argument that is a literal, a bare word as a text, or a start."""
        match node:
            case ast.Name(word):
                return self.places.get(word, word)
            case ast.Call(ast.Name(function), positional, keywords):
                start = self.known(function, STARTS)
                values = [self.value(node) for node in positional]
                return self.called(function, start, values, self.named(keywords, self.value))
            case _:
                return self.literal(node)

    def activation(self, node: ast.expr) -> Any:
        """A function of torch's by its name."""
        word = ast.unparse(node)
        if word in FUNCTIONS:
            for module in (torch, F):
                if hasattr(module, word):
                    return getattr(module, word)
        raise self.wrong(f"{word} is no function of torch's that a cell can use, such as relu")

    def literal(self, node: ast.expr) -> Any:
        try:
            found = ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            found = ...
        if found is None or isinstance(found, (bool, int, float, str)):
            return found
        raise self.wrong(
            f"{ast.unparse(node)} is no argument: it is a number, a text, True, False or None"
        )

    def named(self, keywords: list[ast.keyword], read: Callable[[ast.expr], Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for keyword in keywords:
            if keyword.arg is None:
                raise self.wrong(f"**{ast.unparse(keyword.value)} is no argument: write it out")
            values[keyword.arg] = read(keyword.value)
        return values

    def called(
        self,
        name: str,
        function: Callable[..., Any],
        positional: list[Any],
        named: Mapping[str, Any],
    ) -> Any:
        try:
            return function(*positional, **named)
        except TypeError as error:
            raise self.wrong(f"{name} can't be called so: {error}") from error

    def known(self, name: str, table: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
        if name in table:
            return table[name]
        close = difflib.get_close_matches(name, table, 1)
        advice = f"did you mean {close[0]}?" if close else f"there are {_listed(table)}"
        raise self.wrong(f"there is no function {name}: {advice}")

    def wrong(self, problem: str) -> ModelError:
        return ModelError(f"in the cell {self.name!r}, {problem}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
