"""Ctrl-C and a polite ``kill`` as a wish to stop after the step at hand."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class StopSignals:
    """While it is entered, the first SIGINT or SIGTERM is only noted; the second works as ever."""

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Callable[[int, FrameType | None], Any] | int | None] = {}

    @property
    def name(self) -> str:
        """What the user did, in words."""
        return _NAMES[self.received] if self.received else ""

    def __enter__(self) -> StopSignals:
        # Python hands signals to the main thread alone; a run elsewhere is stopped by its caller.
        here = threading.current_thread() is threading.main_thread()
        for number in _NAMES if here else ():
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
