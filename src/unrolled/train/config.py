"""The settings of a training run: typed, checked, and with the words that ``--help`` shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from unrolled.errors import TrainingError

OptimizerName = Literal["adamw", "sgd"]
PrecisionName = Literal["float32", "bfloat16", "float16"]
ScheduleName = Literal["constant", "cosine", "linear", "plateau"]

# A run that goes on with another one of these could not keep its optimizer's state, its place in
# the corpus or its random numbers. The other settings may change between two sittings.
FIXED = frozenset({"optimizer", "batch_size", "seed"})


@dataclass(frozen=True)
class TrainConfig:
    """How the training goes.

    Attributes:
        epochs: Passes over the training part of the data.
        max_steps: Stop after so many steps (one batch each), even in the middle of an epoch.
        max_minutes: Save and stop after so many minutes of training, which at least one step has;
            resuming goes on.
        batch_size: Examples (of a text: streams) side by side, those of all processes together.
        accumulate: Compute each batch in so many parts, one after the other, which takes less
            memory and gives the same gradient.
        precision: What is computed with, as torch.autocast has it; parameters stay float32, and
            cells without a layer of torch's keep to it. float16 needs a GPU.
        optimizer: AdamW, or SGD with momentum.
        learning_rate: The highest learning rate, which the warmup ends at.
        weight_decay: Decoupled (AdamW) or L2 (SGD) decay of the parameters.
        beta1: AdamW's decay of the mean gradient.
        beta2: AdamW's decay of the mean squared gradient.
        momentum: SGD's momentum.
        schedule: How the learning rate goes on after the warmup.
        warmup: Steps in which the learning rate rises linearly.
        final_rate: Where cosine and linear end, and how low plateau goes, as a fraction of the
            learning rate.
        plateau_patience: The plateau schedule halves the rate after so many validations without a
            better figure, the one that decides which model is kept.
        clip: Scale gradients down to this norm; 0 leaves them as they are.
        evaluate_every: Steps between two validations.
        log_every: Steps between two lines of metrics.
        checkpoint_every: Steps between two checkpoints.
        patience: Stop early after so many validations without a better figure, the one that decides
            which model is kept.
        seed: Where all random numbers start.
    """

    epochs: int = 10
    max_steps: int | None = None
    max_minutes: float | None = None
    batch_size: int = 32
    accumulate: int = 1
    precision: PrecisionName = "float32"
    optimizer: OptimizerName = "adamw"
    learning_rate: float = 4e-3
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    momentum: float = 0.9
    schedule: ScheduleName = "cosine"
    warmup: int = 50
    final_rate: float = 0.0
    plateau_patience: int = 2
    clip: float = 1.0
    evaluate_every: int = 500
    log_every: int = 50
    checkpoint_every: int = 500
    patience: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise TrainingError(f"{name} is a number from {least} up, not {value}")
        for name in ("beta1", "beta2", "momentum"):
            if not 0 <= getattr(self, name) < 1:
                raise TrainingError(
                    f"{name} is at least 0 and less than 1, not {getattr(self, name)}"
                )
        for name in ("learning_rate", "max_minutes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise TrainingError(f"{name} is a number above 0, not {value}")
        if self.final_rate > 1:
            raise TrainingError(f"final_rate is a fraction, at most 1, not {self.final_rate}")

    def total_steps(self, batches: int) -> int:
        """The steps of the whole run, where an epoch has so many ``batches``."""
        steps = self.epochs * batches
        return steps if self.max_steps is None else min(steps, self.max_steps)


_LEAST: dict[str, float] = {
    "epochs": 1,
    "max_steps": 1,
    "batch_size": 1,
    "accumulate": 1,
    "weight_decay": 0,
    "warmup": 0,
    "final_rate": 0,
    "plateau_patience": 1,
    "clip": 0,
    "evaluate_every": 1,
    "log_every": 1,
    "checkpoint_every": 1,
    "patience": 1,
    "seed": 0,
}
