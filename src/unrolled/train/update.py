"""One update: the gradient of a batch's mean loss, clipped, and a step of the optimizer.

The batch may be computed in parts, one after the other (gradient accumulation), and shared by
several processes (``DistributedDataParallel``). In both cases each part's summed loss is divided by
the targets of the *whole* batch, so that neither changes the gradient but for its rounding.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from unrolled.data.batch import Batch
from unrolled.train.config import TrainConfig
from unrolled.train.optimizer import build_optimizer
from unrolled.train.processes import Processes
from unrolled.train.task import State, Task

_AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}

Loss = Callable[[Any, Batch, State | None], tuple[Tensor, State | None]]


@dataclass(frozen=True)
class Gradients:
    """What a batch gave.

    Attributes:
        loss: The mean over the targets of all processes.
        targets: How many these are.
        norm: The gradient's norm before clipping.
        clipped_norm: The same after clipping, which is what the optimizer sees.
        state: This process's rows of the state to carry on.
    """

    loss: float
    targets: int
    norm: float
    clipped_norm: float
    state: State | None


class Updater:
    """Makes updates of a model's parameters.

    Attributes:
        optimizer: What steps.
        scaler: Scales losses of float16; does nothing otherwise.
    """

    def __init__(
        self, model: nn.Module, task: Task, config: TrainConfig, processes: Processes
    ) -> None:
        self._model, self._task, self._config = model, task, config
        self._processes = processes
        self._device = next(model.parameters()).device
        objective = _Objective(model, task.loss)
        self._objective: nn.Module = objective
        if processes.size > 1:
            self._objective = DistributedDataParallel(objective)
        self.optimizer = build_optimizer(model, config)
        self.scaler = torch.amp.GradScaler(self._device.type, enabled=config.precision == "float16")

    def gradients(self, batch: Batch, state: State | None) -> Gradients:
        """The gradient of the batch's mean loss, in the parameters, clipped.

        Args:
            batch: All rows, those of the other processes too.
            state: This process's rows of the carried state.
        """
        targets = max(1, self._task.count(batch))
        rows = self._processes.share(batch.size)
        # A process without rows computes one for nothing: its gradients are waited for.
        idle = rows.start == rows.stop
        mine = batch.select(slice(0, 1) if idle else rows)
        weight = 0.0 if idle else self._processes.size / targets
        parts = min(self._config.accumulate, mine.size)
        self.optimizer.zero_grad()
        total, states = 0.0, list[State]()
        for index in range(parts):
            part = Processes(index, parts).share(mine.size)
            with self._waiting(index == parts - 1), self._autocast():
                loss, carried = self._objective(
                    mine.select(part).to(self._device), _rows(state, part)
                )
            with self._waiting(index == parts - 1):
                self.scaler.scale(loss * weight).backward()
            total += 0.0 if idle else loss.item()
            if carried is not None and not idle:
                states.append(tuple(s.detach() for s in carried))
        self.scaler.unscale_(self.optimizer)
        limit = self._config.clip or math.inf
        norm = clip_grad_norm_(self._model.parameters(), limit).item()
        mean = self._processes.sums([total])[0] / targets
        together = tuple(torch.cat(held, 1) for held in zip(*states, strict=True)) or None
        return Gradients(mean, targets, norm, min(norm, limit), together)

    def step(self, rate: float, *, measure: bool = False) -> float | None:
        """A step of the optimizer with this learning rate, by the gradients that are there.

        Args:
            rate: The learning rate.
            measure: Whether to say how far it went, which takes a copy of the parameters.

        Returns:
            ‖Δw‖ / ‖w‖ over all parameters that learn, w as they were before the step; None where
            it is not measured. 0 where all were zeros and stay so, infinity where they leave it.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        learning = [p for group in self.optimizer.param_groups for p in group["params"]]
        before = [p.detach().clone() for p in learning] if measure else None
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if before is None:
            return None
        moved = _norm([p.detach() - w for p, w in zip(learning, before, strict=True)])
        size = _norm(before)
        return moved / size if size else (math.inf if moved else 0.0)

    def _autocast(self) -> AbstractContextManager[Any]:
        dtype = _AUTOCAST.get(self._config.precision)
        if dtype is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype)

    def _waiting(self, last: bool) -> AbstractContextManager[Any]:
        """Gradients are exchanged in the last part alone."""
        if last or self._processes.size == 1:
            return nullcontext()
        return cast(DistributedDataParallel, self._objective).no_sync()


class _Objective(nn.Module):
    """The task's loss as a module, whose forward pass ``DistributedDataParallel`` sees."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self._loss = loss

    def forward(self, batch: Batch, state: State | None) -> tuple[Tensor, State | None]:
        return self._loss(self.model, batch, state)


def _norm(tensors: Sequence[Tensor]) -> float:
    return math.hypot(*(t.norm(dtype=torch.float64).item() for t in tensors))


def _rows(state: State | None, rows: slice) -> State | None:
    return None if state is None else tuple(s[:, rows] for s in state)
