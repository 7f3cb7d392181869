"""What a run tells those who watch it: the progress bar, TensorBoard, whoever prints samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from unrolled.train.metrics import Value


@dataclass(frozen=True)
class Moment:
    """Where a run is.

    Attributes:
        step: The updates made so far.
        total: The updates of the whole run.
        targets: The targets learned from so far, those read twice counted twice.
        seconds: The time spent on them, in all sittings.
        loss: The mean loss of the last batch, or None before the first update.
    """

    step: int
    total: int
    targets: int
    seconds: float
    loss: float | None


class Observer:
    """Sees a run go by; a subclass overrides what it wants to see.

    Attributes:
        stop: Why the run should stop, in a few words; where it is set, the sitting ends after the
            step at hand, all is saved, and resuming goes on.
    """

    stop: str = ""

    def started(self, moment: Moment) -> None:
        """Before the first step of this sitting."""

    def stepped(self, moment: Moment) -> None:
        """After each step, and after the validation and the line of metrics that are due."""

    def measured(self, record: Mapping[str, Value]) -> None:
        """For each line of metrics."""

    def finished(self, moment: Moment) -> None:
        """After the last step of this sitting, also where an error ends it."""
