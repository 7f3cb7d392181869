"""What the training loop is given: batches, a loss, and how the model is judged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from unrolled.data.batch import Batch

State = tuple[Tensor, ...]


class Batches(Protocol):
    """The batches of each epoch: the same for the same epoch, wherever one begins to read."""

    def __len__(self) -> int:
        """How many an epoch has."""
        ...

    def batches(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Those of ``epoch`` from batch ``start`` on; all but the last have as many examples."""
        ...


@dataclass(frozen=True)
class Metric:
    """The figure that decides which model is the best.

    Attributes:
        name: Its name among those that validation gives.
        better: Whether a better model has a lower or a higher one.
    """

    name: str = "loss"
    better: Literal["lower", "higher"] = "lower"

    def improves(self, value: float, best: float | None) -> bool:
        """Whether ``value`` is better than ``best``; anything is better than none."""
        if best is None:
            return True
        return value < best if self.better == "lower" else value > best


@dataclass(frozen=True)
class Task:
    """What a run learns.

    Attributes:
        training: The batches to learn from.
        loss: From the model, a batch and the state carried so far to the loss *summed* over the
            batch's targets (a scalar) and the state to carry on (``[layers, B, size]`` each), or
            None where nothing is carried. The state comes without its gradient.
        count: How many targets a batch has, from its lengths alone; the loss is their mean.
        validate: Figures of the model on the validation part, ``metric`` among them; or None where
            there is no such part: then the latest model is the best.
        metric: Which of these decides.
    """

    training: Batches
    loss: Callable[[Any, Batch, State | None], tuple[Tensor, State | None]]
    count: Callable[[Batch], int]
    validate: Callable[[Any], Mapping[str, float]] | None = None
    metric: Metric = Metric()
