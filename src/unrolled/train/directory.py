"""The directory of a run: who may begin in it, and the settings that it was begun with.

::

    runs/lm/
      model.safetensors, config.json, …   the best model so far, a model directory
      training/
        settings.json                     all options, and what they were used on
        metrics.jsonl                     the same bytes for the same seed
        timing.jsonl                      the clock
        step-00000500.safetensors, .json  the last two checkpoints
        report.json                       how the best model does on held-out data
        data/                             encoded data, where no cache is named
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from unrolled.data.files import staged
from unrolled.errors import TrainingError
from unrolled.models.storage import holds_model, remove_model

_VERSION = 2


@dataclass(frozen=True)
class Settings:
    """What a run was begun with.

    Attributes:
        kind: What is trained: ``unrolled train <kind>``.
        options: All options by name.
        fingerprint: Those of the data, by part.
        environment: What the same bits depend on besides the options.
    """

    kind: str
    options: dict[str, Any]
    fingerprint: dict[str, str]
    environment: dict[str, str | int]


class RunDirectory:
    """Where a run writes.

    Attributes:
        path: The model directory.
        training: All else that the run keeps.
        data: Encoded data.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.training = self.path / "training"
        self.data = self.training / "data"
        self._settings = self.training / "settings.json"

    def holds_run(self) -> bool:
        """Whether a run was begun here."""
        return self._settings.exists()

    def refuse_to_overwrite(self, *, overwrite: bool, resume: bool) -> None:
        """Sees to it that nothing is lost that the user didn't give away.

        Raises:
            TrainingError: where there is something in the way.
        """
        if overwrite and resume:
            raise TrainingError("--overwrite starts again and --resume goes on: give one of them")
        if self.path.exists() and not self.path.is_dir():
            raise TrainingError(f"{self.path} is a file: name a directory with --output")
        if self.holds_run():
            if not (overwrite or resume):
                raise TrainingError(
                    f"{self.path} holds another run: name another directory with --output, go on "
                    "with the run with --resume, or replace it with --overwrite"
                )
        elif holds_model(self.path) and not overwrite:
            raise TrainingError(
                f"{self.path} holds a model, and no run to go on with: name another directory "
                "with --output, or replace the model with --overwrite"
            )

    @contextmanager
    def locked(self) -> Generator[None, None, None]:
        """Keeps a second process out while the block runs; a killed one leaves no lock behind.

        A directory that was made for a run that could not begin is removed again.

        Raises:
            TrainingError: where another process trains here, or the directory can't be made.
        """
        existed = self.path.exists()
        try:
            self.training.mkdir(parents=True, exist_ok=True)
            file = (self.training / "lock").open("wb")
        except OSError as error:
            raise TrainingError(
                f"can't write to {self.path}: {error.strerror or error}; name another directory "
                "with --output"
            ) from error
        with file:
            if not lock(file):
                raise TrainingError(
                    f"another process trains in {self.path}: wait for its end, or name another "
                    "directory with --output"
                )
            try:
                yield
            except BaseException:
                if not existed and not self.holds_run():
                    shutil.rmtree(self.path)
                raise

    def clear(self, keep: Collection[Path]) -> None:
        """Removes the model and the run; its settings first, so that no half can be resumed.

        Args:
            keep: The files of encoded data that the next run uses.
        """
        self._settings.unlink(missing_ok=True)
        remove_model(self.path)
        kept = {path.resolve() for path in keep}
        for pattern in ("step-*", ".step-*", "*.jsonl", "report.json", "tensorboard/events*"):
            for path in self.training.glob(pattern):
                path.unlink()
        for path in self.data.rglob("*"):
            if path.is_file() and path.resolve() not in kept:
                path.unlink()

    def write_settings(self, settings: Settings) -> None:
        """Begins the run.

        Raises:
            DataError: where the settings can't be written.
        """
        content = {"version": _VERSION, **asdict(settings)}
        with staged(self._settings) as file:
            file.write((json.dumps(content, indent=1) + "\n").encode())

    def read_settings(self) -> Settings:
        """What the run was begun with.

        Raises:
            TrainingError: where that is damaged or of another version.
        """
        again = "start again with --overwrite"
        try:
            values: Any = json.loads(self._settings.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{self._settings} is damaged: {error}; {again}") from error
        version = values.pop("version", None) if isinstance(values, dict) else None
        if version != _VERSION:
            raise TrainingError(
                f"{self._settings} has version {version}, this program reads {_VERSION}: go on "
                f"with the version of Unrolled that began the run, or {again}"
            )
        whole = set(values) == {field.name for field in fields(Settings)}
        if not whole or not isinstance(values["fingerprint"], dict):
            raise TrainingError(f"{self._settings} is damaged: it lacks a part; {again}")
        return Settings(**values)


def lock(file: BinaryIO) -> bool:
    """Whether no other process holds ``file``; Windows has no such locks, and goes without."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
