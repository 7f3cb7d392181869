"""Watching the user's frames while a step is traced: lines, and the names of values."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from itertools import islice
from types import CodeType, FrameType
from typing import Any

import torch

from unrolled.builder import Builder
from unrolled.errors import CellError, Location
from unrolled.ir import Var, number
from unrolled.locations import frame_location, is_users
from unrolled.proxy import Proxy

_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "matmul": "@", "lt": "<", "le": "<=", "gt": ">",
    "ge": ">=", "eq": "==", "ne": "!=", "logical_and": "&", "logical_or": "|",
}  # fmt: skip
_LONGEST = 32
"""No description of an unnamed value in a message is longer."""


class Tracer:
    """Watches the user's frames: where an equation comes from, and what its values are called.

    Names are read whenever an equation is made, and when a function returns (by a profile hook,
    which is put back afterwards).  Under a profiler of C code, which can't be put back from Python,
    values that are named last stay unnamed.
    """

    def __init__(self, step: CodeType) -> None:
        self.returned: Location | None = None
        self._step = step
        self._names: dict[str, str] = {}
        self._ignored: set[str] = set()
        self._outer: Any = None

    def ignore(self, names: set[str]) -> None:
        self._ignored = names

    def __enter__(self) -> Tracer:
        self._outer = sys.getprofile()
        if self._outer is None or callable(self._outer):
            sys.setprofile(self._on_event)
        return self

    def __exit__(self, *_: object) -> None:
        if self._outer is None or callable(self._outer):
            sys.setprofile(self._outer)

    def _on_event(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "return" and is_users(frame):
            self._read_names(frame)
            if frame.f_code is self._step:
                self.returned = Location(frame.f_code.co_filename, frame.f_lineno)

    def _read_names(self, frame: FrameType) -> None:
        for name, value in frame.f_locals.items():
            if isinstance(value, Proxy) and name.isidentifier() and name != "_":
                provisional = value.value.name
                if provisional not in self._ignored:
                    self._names.setdefault(provisional, name)

    def locate(self) -> Location | None:
        """The user's innermost line, reading its local names on the way."""
        frame: FrameType | None = sys._getframe(1)  # pyright: ignore[reportPrivateUsage]
        while frame is not None and not is_users(frame):
            frame = frame.f_back
        if frame is None:
            return None
        self._read_names(frame)
        location = frame_location(frame)
        if not torch.is_grad_enabled():
            raise CellError(
                "torch.no_grad() in a step: the derivatives are derived from its equations",
                "cut a value off from them with .detach(), as in h.detach() * 2",
                location,
            )
        return location

    def in_users_words(self, text: str, builder: Builder) -> str:
        """A message with the user's names, or how it was computed, for values like ``v7[H]``."""
        made = {e.out.name: e for e in builder.equations}
        captured = {c.var.name for c in builder.constants} - self._ignored

        def described(found: re.Match[str]) -> str:
            name = found[1]
            text = "a captured tensor" if name in captured else spelled(name, 3)
            return text if len(text) <= _LONGEST else "a value"

        def spelled(name: str, depth: int) -> str:
            if name in self._names or name not in made:
                return self._names.get(name, name)
            equation = made[name]
            if equation.op in ("reshape", "broadcast"):
                return spelled(equation.inputs[0].name, depth)
            if not depth:
                return "…"
            args = [
                spelled(a.name, depth - 1) if isinstance(a, Var) else number(a)
                for a in equation.args
            ]
            if equation.op == "slice" and len(equation.out.shape) == 1:
                start, stop = equation["start"], equation["stop"]
                return f"{args[0]}[{start}]" if stop == start + 1 else f"{args[0]}[{start}:{stop}]"
            infix = _INFIX.get(equation.op)
            return f"({f' {infix} '.join(args)})" if infix else f"{equation.op}({', '.join(args)})"

        return re.sub(r"\b(\w+)(?:\[\]|(?=\[))", described, text)

    def names(self, builder: Builder) -> dict[str, str]:
        """From provisional names to the user's, each once; the rest numbered anew."""
        taken = set(self._ignored) | {c.var.name for c in builder.constants}
        mapping: dict[str, str] = {}
        unnamed: list[str] = []
        for equation in builder.equations:
            provisional = equation.out.name
            wanted = self._names.get(provisional)
            if wanted is None:
                unnamed.append(provisional)
                continue
            name, n = wanted, 0
            while name in taken:
                n += 1
                name = f"{wanted}_{n}"
            mapping[provisional] = name
            taken.add(name)
        numbers: Iterator[str] = (f"v{k}" for k in range(1, 10**9))
        free = (name for name in numbers if name not in taken)
        mapping.update(zip(unnamed, islice(free, len(unnamed)), strict=True))
        return mapping
