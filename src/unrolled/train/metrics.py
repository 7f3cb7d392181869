"""JSONL files that a run appends to, and cuts back to a known place when it resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from unrolled.errors import TrainingError

Value = str | int | float | bool


class JsonLines:
    """One JSON object a line; the same records give the same bytes."""

    def __init__(self, path: Path, size: int = 0) -> None:
        """Opens ``path`` for more lines after its first ``size`` bytes; what follows them is cut.

        Raises:
            TrainingError: where the file has fewer bytes, or can't be written.
        """
        self._path = path
        try:
            # Unbuffered: a line that could not be written must not be tried again on closing.
            self._file = path.open("r+b" if size else "wb", buffering=0)
        except OSError as error:
            raise self._failed(error) from error
        held = self._file.seek(0, os.SEEK_END)
        if held < size:
            self._file.close()
            raise TrainingError(
                f"{path} has {held} bytes, but the checkpoint was taken when it had {size}: put "
                "the file back, or start again with --overwrite"
            )
        self._file.truncate(size)
        self._file.seek(size)

    def write(self, record: Mapping[str, Value]) -> None:
        """Adds a line. Numbers are finite."""
        try:
            rest = memoryview(json.dumps(dict(record), allow_nan=False).encode() + b"\n")
            while rest:
                rest = rest[self._file.write(rest) :]
        except OSError as error:
            raise self._failed(error) from error

    def sync(self) -> int:
        """The file's size in bytes, once all of them are on the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise self._failed(error) from error
        return self._file.tell()

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()

    def _failed(self, error: OSError) -> TrainingError:
        return TrainingError(
            f"can't write {self._path}: {error.strerror or error}; the last checkpoint is whole. "
            "Free some space or check the permissions, then resume"
        )


def read(path: Path) -> list[dict[str, Any]]:
    """All records of a file that ``JsonLines`` wrote."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]
