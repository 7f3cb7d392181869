"""Training with truncated backpropagation through time, from a seed to a model directory."""

from unrolled.train.config import TrainConfig
from unrolled.train.fit import fit

__all__ = ["TrainConfig", "fit"]
