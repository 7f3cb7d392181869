"""Timing each call of compiled code from inside a run, whatever Python does around it.

Libraries that are loaded inside :func:`timed` get functions that note their name and their seconds;
it costs them half a microsecond each.  What was loaded before stays as it was.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any, TypeVar
from unittest.mock import patch

from benchmarks.peers.contestant import Contestant
from benchmarks.timing import FEWEST_LONG_ROUNDS, SHORT_S, settle

MOST_ROUNDS = 15
Found = TypeVar("Found")


@dataclass(frozen=True)
class Call:
    """One call of a compiled function."""

    function: str
    seconds: float


@contextmanager
def timed() -> Generator[list[Call], None, None]:
    """The calls, in order, as they come; whoever looks on may clear the list."""
    calls: list[Call] = []

    class Library(ctypes.CDLL):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            plain: Any = self._FuncPtr

            class Function(plain):
                # As ctypes asks of the class of functions.
                _flags_ = plain._flags_
                _restype_ = plain._restype_

                def __call__(self, *values: Any) -> Any:
                    start = perf_counter()
                    result = super().__call__(*values)
                    calls.append(Call(self.__name__, perf_counter() - start))
                    return result

            self._FuncPtr = Function

    with patch.object(ctypes, "CDLL", Library):
        yield calls


def rounds(
    contestant: Contestant,
    calls: list[Call],
    told: Callable[[Sequence[Call], float], Found],
    budget_s: float,
) -> list[Found]:
    """The contestant again and again, for ``budget_s`` seconds or a few rounds.

    ``told`` makes of a round's calls of compiled code, and of its seconds, what is wanted of it.
    """
    contestant.call()  # compiles
    found: list[Found] = []
    call_s, end = 0.0, perf_counter() + budget_s
    while len(found) < FEWEST_LONG_ROUNDS or (perf_counter() < end and len(found) < MOST_ROUNDS):
        settle()
        if call_s < SHORT_S:
            contestant.call()
        calls.clear()
        start = perf_counter()
        contestant.call()
        call_s = perf_counter() - start
        found.append(told(calls, call_s))
    return found
