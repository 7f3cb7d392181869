"""``fit``: a model that learns a task, in one call."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from unrolled.train.config import TrainConfig
from unrolled.train.directory import RunDirectory
from unrolled.train.observe import Observer
from unrolled.train.progress import Result
from unrolled.train.task import Task
from unrolled.train.trainer import Trainer


def fit(
    model: Any,
    task: Task,
    directory: str | os.PathLike[str],
    config: TrainConfig | None = None,
    observers: Sequence[Observer] = (),
) -> Result:
    """Train ``model`` and leave the best of it in ``directory``.

    Args:
        model: A module with ``save_pretrained(directory, overwrite=…)``.
        task: What it learns.
        directory: Where it goes; made if it doesn't exist.
        config: How the training goes.
        observers: Those who watch it.

    Raises:
        TrainingError: where ``directory`` holds a model or a run, or where the loss is not finite.
    """
    run = RunDirectory(directory)
    run.refuse_to_overwrite(overwrite=False, resume=False)
    with run.locked():
        trainer = Trainer(
            model,
            task,
            config or TrainConfig(),
            run.training,
            lambda: model.save_pretrained(run.path, overwrite=True),
        )
        return trainer.run(observers)
