"""Places in the user's source: of a frame that runs, and of a function's signature."""

from __future__ import annotations

import ast
import inspect
import linecache
import os
import sys
import sysconfig
import textwrap
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from unrolled.errors import Location


def _folder(path: object) -> str:
    return f"{path}{os.sep}"


_PACKAGE = _folder(Path(__file__).parent)
_CELLS = _folder(f"{_PACKAGE}cells")
_COMBINATORS = _folder(f"{_PACKAGE}combinators")
_LIBRARIES = (_PACKAGE, _folder(Path(torch.__file__).parent), "<frozen")
_STANDARD = _folder(sysconfig.get_path("stdlib"))
_INSTALLED = (_folder(sysconfig.get_path("purelib")), _folder(sysconfig.get_path("platlib")))


def is_users(frame: FrameType) -> bool:
    """Whether a frame runs the user's code; our own cells and composed steps count as that.

    What a combinator does to a call inside of a cell's step belongs to the line of that call.
    """
    file = frame.f_code.co_filename
    if file.startswith(_CELLS):
        return True
    if file.startswith(_COMBINATORS):
        return frame.f_code.co_name == "step"
    if file.startswith(_LIBRARIES):
        return False
    return not file.startswith(_STANDARD) or file.startswith(_INSTALLED)


def users_location() -> Location | None:
    """Where the user's code is that has called, directly or not."""
    frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
    while frame is not None and not is_users(frame):
        frame = frame.f_back
    return None if frame is None else frame_location(frame)


def frame_location(frame: FrameType) -> Location:
    """What a frame is at: the line, and on Python 3.11 and later the columns of the expression."""
    code, line = frame.f_code, frame.f_lineno
    positions = getattr(code, "co_positions", None)
    if positions is not None and frame.f_lasti >= 0:
        found = next(islice(positions(), frame.f_lasti // 2, None), None)
        if found is not None and found[0] is not None and found[2] is not None:
            return _location(code.co_filename, *found)
    return Location(code.co_filename, line)


def signature_location(function: Callable[..., Any], argument: str | None = None) -> Location:
    """Where an argument of a function stands with its default, or where its definition begins."""
    code = function.__code__
    begin = Location(code.co_filename, code.co_firstlineno)
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, SyntaxError):
        return begin
    made = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)), None)
    if made is None:
        return begin
    indent = len(lines[0]) - len(lines[0].lstrip())
    spans = _arguments(made.args)
    if argument is not None and argument in spans:
        start, end = spans[argument]
        last, right = end.end_lineno or end.lineno, end.end_col_offset or end.col_offset
    else:
        start, last, right = made, made.lineno, made.col_offset + len(f"def {made.name}")
    return _location(
        code.co_filename,
        first + start.lineno - 1,
        first + last - 1,
        start.col_offset + indent,
        right + indent,
    )


def _arguments(given: ast.arguments) -> dict[str, tuple[ast.arg, ast.expr | ast.arg]]:
    """Each argument with the end of it: its default, where it has one."""
    positional = [*given.posonlyargs, *given.args]
    without: list[ast.expr | None] = [None] * (len(positional) - len(given.defaults))
    named = [
        *zip(positional, [*without, *given.defaults], strict=True),
        *zip(given.kwonlyargs, given.kw_defaults, strict=True),
        *((a, None) for a in (given.vararg, given.kwarg) if a is not None),
    ]
    return {a.arg: (a, a if default is None else default) for a, default in named}


def _location(file: str, line: int, end_line: int | None, start: int, end: int | None) -> Location:
    """Byte columns as the interpreter gives them, as character columns of the first line."""
    raw = linecache.getline(file, line).encode()
    first = len(raw[:start].decode(errors="ignore"))
    last = None if end is None or end_line != line else len(raw[:end].decode(errors="ignore"))
    return Location(file, line, first, last)
