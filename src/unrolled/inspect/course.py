"""The course of a training run, as its file of metrics tells it."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from unrolled.errors import DataError

PARTS = 5
"""The parts that a course is cut into to see where it goes."""


@dataclass(frozen=True)
class Line:
    """One line of metrics on the training part; what an older file lacks is None.

    Attributes:
        step: The updates made.
        loss: The mean since the line before.
        learning_rate: Of the last update.
        gradient_norm: The mean since the line before, before clipping.
        clipped_gradient_norm: The same after it.
        clipped: The share of the updates since then that were clipped.
        update_ratio: ‖Δw‖ / ‖w‖ of the last update.
    """

    step: int
    loss: float
    learning_rate: float | None = None
    gradient_norm: float | None = None
    clipped_gradient_norm: float | None = None
    clipped: float | None = None
    update_ratio: float | None = None


@dataclass(frozen=True)
class Part:
    """A fifth of the lines: the mean loss, and its standard error."""

    mean: float
    error: float


@dataclass(frozen=True)
class Course:
    """A run so far.

    Attributes:
        lines: On the training part, at least one.
        validation: Steps and losses on the validation part; none where it has another figure.
        clip: The norm that gradients were scaled down to; None where it is not known.
    """

    lines: tuple[Line, ...]
    validation: tuple[tuple[int, float], ...] = ()
    clip: float | None = None

    def finite(self) -> tuple[Line, ...]:
        """The lines before the first one whose loss or gradient norm is not finite."""
        bad = next((k for k, line in enumerate(self.lines) if not is_finite(line)), None)
        return self.lines[:bad]

    def parts(self) -> tuple[Part, ...]:
        """The losses in fifths; none of fewer than two lines each."""
        losses = [line.loss for line in self.finite()]
        if len(losses) < 2 * PARTS:
            return ()
        cuts = [len(losses) * k // PARTS for k in range(PARTS + 1)]
        return tuple(_part(losses[a:b]) for a, b in pairwise(cuts))

    def at_full_rate(self) -> tuple[Line, ...]:
        """The finite lines whose learning rate is at least half of the highest."""
        lines = self.finite()
        highest = max((line.learning_rate or 0.0 for line in lines), default=0.0)
        return tuple(line for line in lines if (line.learning_rate or 0.0) >= highest / 2)


def is_finite(line: Line) -> bool:
    """Whether loss and gradient norm are numbers."""
    return math.isfinite(line.loss) and math.isfinite(line.gradient_norm or 0.0)


def _part(losses: Sequence[float]) -> Part:
    return Part(statistics.fmean(losses), statistics.stdev(losses) / math.sqrt(len(losses)))


def read_course(run: str | os.PathLike[str]) -> Course:
    """The course of the run in a directory; a line that is being written is left out.

    Raises:
        DataError: where there is no run, its file is damaged, or it has no line yet.
    """
    training = Path(run) / "training"
    path = training / "metrics.jsonl"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{run} holds no run: can't read {path}: {error.strerror}") from error
    whole = content[: content.rfind(b"\n") + 1]
    try:
        records = [json.loads(line) for line in whole.splitlines()]
    except ValueError as error:
        raise DataError(f"{path} is damaged: {error}") from error
    return course_of(records, clip=_clip(training / "settings.json"), name=str(path))


def course_of(
    records: Sequence[Mapping[str, Any]], clip: float | None = None, name: str = "the metrics"
) -> Course:
    """The course that lines of metrics tell.

    Args:
        records: As ``metrics.jsonl`` has them.
        clip: The norm that gradients were scaled down to.
        name: What errors call the lines.

    Raises:
        DataError: where they are no lines of metrics, or there is none of training.
    """
    try:
        lines = [_line(record) for record in records if record["split"] == "train"]
        validation = [
            (int(record["step"]), float(record["loss"]))
            for record in records
            if record["split"] == "validation" and "loss" in record
        ]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{name} is damaged: {type(error).__name__}: {error}") from error
    if not lines:
        raise DataError(f"{name} has no figures yet: the run has not come to its first line")
    return Course(tuple(lines), tuple(validation), clip)


_OPTIONAL = ("learning_rate", "gradient_norm", "clipped_gradient_norm", "clipped", "update_ratio")


def _line(record: Mapping[str, Any]) -> Line:
    known = {name: float(record[name]) for name in _OPTIONAL if name in record}
    return Line(int(record["step"]), float(record["loss"]), **known)


def _clip(settings: Path) -> float | None:
    """Of a run's settings, where it has some: 0 where nothing was clipped."""
    try:
        return float(json.loads(settings.read_bytes())["options"]["clip"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{settings} is damaged: {type(error).__name__}: {error}") from error
