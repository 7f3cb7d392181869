"""Where a run is, and how a sitting ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Ending = Literal["complete", "early", "interrupted", "out of time"]


@dataclass
class Progress:
    """The numbers of a checkpoint. A loss is the mean over targets.

    Attributes:
        step: The updates made so far.
        epoch: The epochs completed.
        batch: The batches read of the epoch at hand.
        targets: The targets learned from so far, one read twice counted twice.
        loss_sum: The losses of the targets since the last line of metrics, summed.
        loss_targets: How many these are.
        norm_sum: The gradient norms of the steps since the last line of metrics, summed.
        clipped_norm_sum: The same after clipping.
        norm_steps: How many these are.
        clipped: How many of these were clipped.
        best: The best figure of validation.
        best_step: The step it was measured at.
        stale: Validations since then.
        reductions: How often the plateau schedule has halved the learning rate.
        stale_for_reduction: Validations without a better figure since the last time it did.
        seconds: The time spent in all sittings.
        metrics_size: The bytes of the metrics file.
        timing_size: The bytes of the timing file.
    """

    step: int = 0
    epoch: int = 0
    batch: int = 0
    targets: int = 0
    loss_sum: float = 0.0
    loss_targets: int = 0
    norm_sum: float = 0.0
    clipped_norm_sum: float = 0.0
    norm_steps: int = 0
    clipped: int = 0
    best: float | None = None
    best_step: int = 0
    stale: int = 0
    reductions: int = 0
    stale_for_reduction: int = 0
    seconds: float = 0.0
    metrics_size: int = 0
    timing_size: int = 0


@dataclass(frozen=True)
class Result:
    """How a sitting ended.

    Attributes:
        ending: Why.
        cause: What stopped it where it was interrupted: "Ctrl-C", "SIGTERM", or what an observer
            said.
        progress: Where the run is.
        total: The updates of the whole run.
    """

    ending: Ending
    cause: str
    progress: Progress
    total: int
