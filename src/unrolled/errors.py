"""The exceptions of Unrolled: each message says what was expected, what came and what to do."""

from __future__ import annotations

import linecache
from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """A place in the user's source: a file, a line (from 1) and columns (from 0, end exclusive).

    ``column`` is ``None`` where the interpreter does not say (Python 3.10).
    """

    file: str
    line: int
    column: int | None = None
    end_column: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def excerpt(self) -> str:
        """The source line with a caret below the place, or nothing where the source is gone."""
        text = linecache.getline(self.file, self.line).rstrip("\n")
        if not text.strip():
            return ""
        indent = len(text) - len(text.lstrip())
        start = indent if self.column is None else self.column
        end = len(text) if self.end_column is None else self.end_column
        carets = "^" * max(1, min(end, len(text)) - start)
        return f"    {text[indent:]}\n    {' ' * (start - indent)}{carets}"


class UnrolledError(Exception):
    """The base of all errors that this package raises on purpose."""


class CellError(UnrolledError):
    """A step function that can't be compiled, with the user's own line and a caret."""

    def __init__(self, problem: str, hint: str = "", location: Location | None = None) -> None:
        self.problem = problem
        self.hint = hint
        self.location = location
        super().__init__(self._message())

    def _message(self) -> str:
        lines: list[str] = []
        if self.location is not None:
            lines.append(f"{self.location}: {self.problem}")
            excerpt = self.location.excerpt()
            if excerpt:
                lines.append(excerpt)
        else:
            lines.append(self.problem)
        if self.hint:
            lines.append(f"  {self.hint}")
        return "\n".join(lines)


class UnknownAttribute(CellError, AttributeError):
    """An attribute that a traced value does not have; ``hasattr`` sees that it is not there."""


class UnsupportedByBackend(UnrolledError):
    """A backend that was asked for by name can't serve this plan; the message gives its reason."""


class UserError(UnrolledError):
    """Bad input on the command line or in a file: one clear line, exit status 2, no traceback."""


class DataError(UserError):
    """A corpus, a vocabulary or a token file that can't be used."""


class ModelError(UserError):
    """A model directory that is missing, damaged, of another version or does not fit."""


class TrainingError(UserError):
    """A training run that can't start or go on."""
