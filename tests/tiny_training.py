"""A small model and a small text, for tests of the training loop."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from unrolled.data.windows import Stream
from unrolled.tasks.language_model import task
from unrolled.train.config import TrainConfig
from unrolled.train.processes import ALONE, Processes
from unrolled.train.trainer import Trainer

VOCABULARY = 7


class TinyModel(nn.Module):
    """Embedding, a dropout (so that random numbers matter), LSTM, linear."""

    def __init__(self, seed: int = 3) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.dropout = nn.Dropout(0.2)
        self.lstm = nn.LSTM(8, 12)
        self.output = nn.Linear(12, VOCABULARY)

    def forward(
        self, tokens: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        y, carried = self.lstm(self.dropout(self.embedding(tokens)), state)
        return self.output(y), carried


# Eighteen updates of a model of 1,300 parameters in float64: some 1e5 roundings in a row, each of
# 2^-53 of numbers below 10, and steps of AdamW that divide by gradients' sizes.
ROUNDING = 1e-9


def plain_model() -> TinyModel:
    model = TinyModel().double()
    model.dropout.p = 0.0
    return model


def text(length: int) -> np.ndarray:
    """Ids that follow a noisy pattern, so that there is something to learn."""
    random = np.random.default_rng(5)
    noisy = random.integers(0, VOCABULARY, length)
    return np.where(random.random(length) < 0.8, np.arange(length) % VOCABULARY, noisy).astype(
        np.uint16
    )


WINDOW = 8
SETTINGS = TrainConfig(
    epochs=3,
    batch_size=4,
    learning_rate=0.01,
    warmup=5,
    evaluate_every=10,
    log_every=3,
    checkpoint_every=7,
)


def trainer(
    directory: Path,
    config: TrainConfig = SETTINGS,
    *,
    model: nn.Module | None = None,
    validate: bool = True,
    window: int = WINDOW,
    processes: Processes = ALONE,
) -> tuple[Trainer, nn.Module, list[int]]:
    """A trainer, its model, and the list that gets the step of each best model."""
    directory.mkdir(exist_ok=True)
    tokens = text(800)
    model = model or TinyModel()
    best: list[int] = []
    run = Trainer(
        model,
        task(
            Stream(tokens[:600], config.batch_size, window),
            Stream(tokens[600:], 2, window) if validate else None,
        ),
        config,
        directory,
        lambda: best.append(run.progress.step),
        processes,
    )
    return run, model, best
