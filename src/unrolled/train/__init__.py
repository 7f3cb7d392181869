"""The training loop: batches in, updates out; exact to resume, alone or in several processes."""

from unrolled.train.config import TrainConfig
from unrolled.train.fit import fit
from unrolled.train.task import Metric, Task

__all__ = ["Metric", "Task", "TrainConfig", "fit"]
