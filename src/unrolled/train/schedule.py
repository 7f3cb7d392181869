"""Learning-rate schedules as one function of the step: nothing to save, nothing to go astray."""

from __future__ import annotations

import math
from collections.abc import Callable

from unrolled.train.config import TrainConfig

# From the fraction of the steps after the warmup that is done, in [0, 1], to the fraction of the
# way from the highest rate (1) to the last one (0).
_SHAPES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "plateau": lambda done: 1.0,
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "linear": lambda done: 1 - done,
}


def learning_rate(config: TrainConfig, step: int, total: int, reductions: int = 0) -> float:
    """The rate of update ``step`` (from 0) of ``total``.

    Args:
        config: The settings.
        step: The number of updates made so far.
        total: The updates of the whole run.
        reductions: How often the plateau schedule has halved the rate.
    """
    peak = config.learning_rate
    if step < config.warmup:
        return peak * (step + 1) / config.warmup
    after = total - config.warmup
    done = min(1.0, (step - config.warmup) / after) if after > 0 else 1.0
    share = _SHAPES[config.schedule](done)
    floor = config.final_rate
    rate = floor + (1 - floor) * share
    return peak * max(floor, rate * 0.5**reductions)
