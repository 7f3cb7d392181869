"""One trial of a search: a run of ``unrolled train`` in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from unrolled.cli import train_settings
from unrolled.cli.device import compute_deterministically, find_device
from unrolled.cli.train import train
from unrolled.tasks.kind import Kind
from unrolled.tasks.tuning import Outcome, Watch
from unrolled.train.directory import RunDirectory
from unrolled.train.observe import Observer
from unrolled.train.processes import Processes
from unrolled.train.task import Metric


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
    place = find_device(device)
    compute_deterministically(place)
    metrics: list[Metric] = []

    def observed(metric: Metric) -> Observer:
        metrics.append(metric)
        return watch(metric)

    # What a search does not ask for is as train has it by itself, but that nothing is shown.
    others = train_settings.options(kind).read([])
    quiet = {"samples": 0} if kind.draw else {}
    where = {"output": str(directory), "device": device, "overwrite": True}
    every = {**others, **quiet, **values, **where}
    result = train(kind, every, RunDirectory(directory), None, place, Processes(), observed)
    stopped = result.ending == "interrupted"
    return Outcome(result.progress.best, metrics[0], stopped)
