"""One trial of a search: a run of ``unrolled train`` in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unrolled.tasks.kind import Kind
from unrolled.tasks.tuning import Outcome, Watch


def train_trial(
    kind: Kind, values: dict[str, Any], directory: Path, device: str, watch: Watch
) -> Outcome:
    """Trains.

    Args:
        kind: What is trained.
        values: The data, and all options of how it is read, of the model and of the training.
        directory: Where the run is; what is there of an earlier run is replaced.
        device: Where to compute.
        watch: From the figure that decides to who is told how the run goes.
    """
    raise NotImplementedError
