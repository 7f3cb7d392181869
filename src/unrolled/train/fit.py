"""``fit``: a language model from a text, in one call."""

from __future__ import annotations

import os

from unrolled.data.windows import Stream
from unrolled.errors import TrainingError
from unrolled.models.language_model import LanguageModel
from unrolled.train.config import TrainConfig
from unrolled.train.directory import RunDirectory
from unrolled.train.evaluate import validation_stream
from unrolled.train.progress import Result
from unrolled.train.trainer import Trainer


def fit(
    model: LanguageModel,
    text: str,
    directory: str | os.PathLike[str],
    config: TrainConfig | None = None,
    validation_fraction: float = 0.1,
) -> Result:
    """Train ``model`` on ``text`` and leave the best of it in ``directory``.

    The last ``validation_fraction`` of the text is kept for validation; 0 is none.

    Raises:
        TrainingError: where ``directory`` holds a model or a run, or where the loss is not finite.
        DataError: where the text is too short for a window.
    """
    if not 0 <= validation_fraction < 1:
        raise TrainingError(f"validation_fraction={validation_fraction}: expected 0 up to below 1")
    settings = config or TrainConfig()
    tokens = model.vocabulary.encode(text)
    n = len(tokens) - round(len(tokens) * validation_fraction)
    training = Stream(tokens[:n], settings.batch_size, settings.window)
    validation = None
    if validation_fraction:
        validation = validation_stream(tokens[n:], settings.batch_size, settings.window)
    run = RunDirectory(directory)
    run.refuse_to_overwrite(overwrite=False, resume=False)
    with run.locked():
        trainer = Trainer(
            model,
            training,
            validation,
            settings,
            run.training,
            lambda: model.save_pretrained(run.path, overwrite=True),
        )
        return trainer.run()
