"""Checkpoints: two files a step, written atomically and verified when read, never pickled.

``step-00000500.safetensors`` holds the tensors; ``step-00000500.json`` everything else, the
tensors' checksum and its own. The JSON file appears last, so that it vouches for the other. The
checkpoint before the newest is kept: where the newest is damaged, it is used.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from unrolled.data.files import write_together
from unrolled.errors import DataError, TrainingError

_VERSION = 2
_KEYS = {"version", "step", "values", "size", "sha256", "checksum"}


@dataclass(frozen=True)
class Checkpoint:
    """All that a run needs to go on.

    Attributes:
        step: The updates made so far.
        tensors: By name, on the CPU.
        values: What JSON can hold.
    """

    step: int
    tensors: dict[str, Tensor]
    values: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What a search for checkpoints gave.

    Attributes:
        checkpoint: The newest whole one, or None where there are none at all.
        damaged: A line for each newer one that is not whole: which, and what is wrong.
    """

    checkpoint: Checkpoint | None
    damaged: tuple[str, ...] = ()


def save(directory: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint and removes all others but the one before it.

    Raises:
        TrainingError: where it can't be written (disk full, no permission); those that are there
            stay.
    """
    tensors = safetensors.torch.save(checkpoint.tensors)
    description: dict[str, Any] = {
        "version": _VERSION,
        "step": checkpoint.step,
        "values": checkpoint.values,
        "size": len(tensors),
        "sha256": hashlib.sha256(tensors).hexdigest(),
    }
    description["checksum"] = _checksum(description)
    path = _path(directory, checkpoint.step)
    text = json.dumps(description, indent=1, allow_nan=False)
    try:
        write_together({path.with_suffix(".safetensors"): tensors, path: text.encode()})
    except DataError as error:
        raise TrainingError(f"no checkpoint of step {checkpoint.step}: {error}") from error
    _remove_others(directory, checkpoint.step)


def newest(directory: Path) -> Found:
    """The newest checkpoint that is whole.

    Raises:
        TrainingError: where there are some, but none is whole.
    """
    damaged: list[str] = []
    for step in sorted(_steps(directory), reverse=True):
        path = _path(directory, step)
        try:
            return Found(_read(path), tuple(damaged))
        except (OSError, ValueError) as error:
            damaged.append(f"the checkpoint {path} is damaged: {error}")
    # Tensors alone are of a first save that did not come to its end.
    if any(_path(directory, step).exists() for step in _steps(directory)):
        raise TrainingError(
            f"{'; '.join(damaged)}. None is left to resume from: start again with --overwrite"
        )
    return Found(None, tuple(damaged))


def _read(path: Path) -> Checkpoint:
    """Raises an OSError or a ValueError where the checkpoint is not whole."""
    description: Any = json.loads(path.read_text("utf-8"))
    version = description.get("version") if isinstance(description, dict) else None
    if version != _VERSION:
        raise ValueError(f"it has version {version}, this program reads {_VERSION}")
    if set(description) != _KEYS or description["checksum"] != _checksum(description):
        raise ValueError("its description was changed")
    tensors = path.with_suffix(".safetensors").read_bytes()
    if len(tensors) != description["size"]:
        raise ValueError(f"it has {len(tensors)} bytes of {description['size']}")
    if hashlib.sha256(tensors).hexdigest() != description["sha256"]:
        raise ValueError("its tensors were changed")
    return Checkpoint(description["step"], safetensors.torch.load(tensors), description["values"])


def _remove_others(directory: Path, step: int) -> None:
    """Leaves ``step`` and the one before it; later ones are from a run that was gone back on."""
    earlier = [other for other in _steps(directory) if other < step]
    keep = {step, *sorted(earlier)[-1:]}
    for other in _steps(directory) - keep:
        path = _path(directory, other)
        path.unlink(missing_ok=True)
        path.with_suffix(".safetensors").unlink(missing_ok=True)
    # What a killed process had begun to write.
    for path in directory.glob(".step-*.tmp"):
        path.unlink(missing_ok=True)


def _steps(directory: Path) -> set[int]:
    """Also those that lack a file: one that was cut off before its end must be seen."""
    stems = [path.stem for path in directory.glob("step-*.*")]
    return {int(stem.removeprefix("step-")) for stem in stems if stem[5:].isdigit()}


def _path(directory: Path, step: int) -> Path:
    return directory / f"step-{step:08d}.json"


def _checksum(description: dict[str, Any]) -> str:
    rest = {key: value for key, value in description.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
