"""The training loop: truncated backpropagation through time with the state carried, resumable.

All that decides the next update is in the progress, the snapshot of the tensors and the settings,
and what happens after a step depends on these alone, never on the clock. So a run that is killed
and resumed makes the same updates, and writes the same metrics, as one that is not: bit for bit on
one processor, with one version of torch and as many threads. On a GPU this holds but for dropout
between layers, since cuDNN keeps random numbers of its own there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from unrolled.data.windows import Stream
from unrolled.errors import TrainingError
from unrolled.train import checkpoint, snapshot
from unrolled.train.config import FIXED, TrainConfig
from unrolled.train.evaluate import mean_loss
from unrolled.train.interrupt import StopSignals
from unrolled.train.metrics import JsonLines, Value
from unrolled.train.observe import Moment, Observer
from unrolled.train.optimizer import build_optimizer
from unrolled.train.progress import Ending, Progress, Result
from unrolled.train.schedule import learning_rate

METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"


class Trainer:
    """A run, from its newest checkpoint or from its start.

    Attributes:
        progress: Where it is.
        total: The updates of the whole run.
        damaged: A line for each damaged checkpoint that was passed over.
    """

    def __init__(
        self,
        model: nn.Module,
        training: Stream,
        validation: Stream | None,
        config: TrainConfig,
        directory: Path,
        save_best: Callable[[], None],
    ) -> None:
        """Reads the newest whole checkpoint, if there is one; writes nothing.

        Args:
            model: Takes tokens ``[T, B]`` (int64) and a state (a tuple of tensors, or None for the
                initial one); gives logits ``[T, B, V]`` and the new state.
            training: The windows to learn from.
            validation: The windows to measure on, or None: then the latest is the best.
            config: The settings.
            directory: Where checkpoints and metrics are. It exists.
            save_best: Saves the model for use; called when it is better than before.

        Raises:
            TrainingError: where there are checkpoints, but none is whole, or the newest is of
                another model or of other settings.
        """
        self.total = config.total_steps(len(training))
        self._model = model
        self._training = training
        self._validation = validation
        self._config = config
        self._directory = directory
        self._save_best = save_best
        self._device = next(model.parameters()).device
        self._optimizer = build_optimizer(model, config)
        self._saved_step: int | None = None
        self._last_loss: float | None = None

        found = checkpoint.newest(directory)
        self.damaged = found.damaged
        if found.checkpoint is None:
            torch.manual_seed(config.seed)
            self.progress = Progress()
            self._state: snapshot.State | None = None
        else:
            _refuse_other(config, found.checkpoint.values["fixed"])
            self.progress = Progress(**found.checkpoint.values["progress"])
            self._state = snapshot.put_back(found.checkpoint.tensors, model, self._optimizer)
            self._saved_step = self.progress.step

    def run(self, observers: Sequence[Observer] = ()) -> Result:
        """Trains to the end, or until a signal or the clock asks to stop; the end is saved.

        Raises:
            TrainingError: where loss, gradient or parameters are not finite, or a file can't be
                written. The last checkpoint is whole.
        """
        self._observers = observers
        self._started = time.monotonic() - self.progress.seconds
        minutes = self._config.max_minutes
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        with (
            StopSignals() as signals,
            JsonLines(self._directory / METRICS, self.progress.metrics_size) as self._metrics,
            JsonLines(self._directory / TIMING, self.progress.timing_size) as self._timing,
        ):
            for observer in observers:
                observer.started(self._moment())
            try:
                windows = self._windows()
                while (ending := self._ending(signals, deadline)) is None:
                    self._update(*next(windows))
                    self._measure()
                    for observer in observers:
                        observer.stepped(self._moment())
                    if self.progress.step % self._config.checkpoint_every == 0:
                        self._save()
                self._save()
            finally:
                for observer in observers:
                    observer.finished(self._moment())
        return Result(ending, signals.name, self.progress, self.total)

    def _ending(self, signals: StopSignals, deadline: float) -> Ending | None:
        patience = self._config.patience
        if self.progress.step >= self.total:
            return "complete"
        if patience is not None and self.progress.stale >= patience:
            return "early"
        if signals.received:
            return "interrupted"
        return "out of time" if time.monotonic() >= deadline else None

    def _windows(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Epoch after epoch from where the run is; each starts from the initial state."""
        while True:
            yield from self._training.batches(self.progress.window)
            self.progress.epoch += 1
            self.progress.window = 0
            self._state = None

    def _update(self, x: Tensor, y: Tensor) -> None:
        """One step: forward and backward through a window, and a change of the parameters."""
        progress, config = self.progress, self._config
        rate = learning_rate(config, progress.step, self.total, progress.reductions)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        logits, state = self._model(x.to(self._device), self._state)
        loss = F.cross_entropy(logits.flatten(0, 1), y.to(self._device).flatten())
        self._optimizer.zero_grad()
        loss.backward()
        norm = clip_grad_norm_(self._model.parameters(), config.clip or math.inf).item()
        self._last_loss = loss.item()
        self._refuse_unless_finite("loss", self._last_loss, progress.step + 1, rate)
        self._refuse_unless_finite("gradient norm", norm, progress.step + 1, rate)
        self._optimizer.step()
        self._state = tuple(part.detach() for part in state)

        progress.step += 1
        progress.window += 1
        progress.tokens += y.numel()
        progress.loss_sum += self._last_loss * y.numel()
        progress.loss_tokens += y.numel()
        progress.norm_sum += norm
        progress.norm_steps += 1
        progress.clipped += config.clip > 0 and norm > config.clip

    def _measure(self) -> None:
        """The line of metrics and the validation, where they are due."""
        step, last = self.progress.step, self.progress.step == self.total
        if last or step % self._config.log_every == 0:
            self._log_training()
        if self._validation and (last or step % self._config.evaluate_every == 0):
            self._validate(self._validation)

    def _log_training(self) -> None:
        progress = self.progress
        rate = learning_rate(self._config, progress.step - 1, self.total, progress.reductions)
        self._record(
            {
                "split": "train",
                "loss": progress.loss_sum / progress.loss_tokens,
                "learning_rate": rate,
                "gradient_norm": progress.norm_sum / progress.norm_steps,
                "clipped": progress.clipped / progress.norm_steps,
            }
        )
        progress.loss_sum = progress.norm_sum = 0.0
        progress.loss_tokens = progress.norm_steps = progress.clipped = 0
        seconds = time.monotonic() - self._started
        self._timing.write({"step": progress.step, "tokens": progress.tokens, "seconds": seconds})

    def _validate(self, validation: Stream) -> None:
        progress, config = self.progress, self._config
        loss = mean_loss(self._model, validation)
        self._refuse_unless_finite("validation loss", loss, progress.step)
        self._record({"split": "validation", "loss": loss})
        if progress.best_loss is None or loss < progress.best_loss:
            progress.best_loss, progress.best_step = loss, progress.step
            progress.stale = progress.stale_for_reduction = 0
            self._save_best()
            return
        progress.stale += 1
        progress.stale_for_reduction += 1
        if config.schedule == "plateau" and progress.stale_for_reduction >= config.plateau_patience:
            progress.reductions += 1
            progress.stale_for_reduction = 0

    def _record(self, values: dict[str, Value]) -> None:
        progress = self.progress
        epoch = progress.epoch + progress.window / len(self._training)
        record = {"step": progress.step, "epoch": epoch, "tokens": progress.tokens, **values}
        self._metrics.write(record)
        for observer in self._observers:
            observer.measured(record)

    def _save(self) -> None:
        progress = self.progress
        if progress.step == self._saved_step:
            return
        for name, parameter in self._model.named_parameters():
            if not parameter.isfinite().all():
                self._refuse_unless_finite(f"parameter {name}", math.nan, progress.step)
        if self._validation is None:
            self._save_best()
        progress.metrics_size = self._metrics.sync()
        progress.timing_size = self._timing.sync()
        progress.seconds = time.monotonic() - self._started
        tensors = snapshot.take(self._model, self._optimizer, self._state)
        fixed = {name: getattr(self._config, name) for name in sorted(FIXED)}
        values = {"progress": asdict(progress), "fixed": fixed}
        checkpoint.save(self._directory, checkpoint.Checkpoint(progress.step, tensors, values))
        self._saved_step = progress.step

    def _refuse_unless_finite(
        self, what: str, value: float, step: int, rate: float | None = None
    ) -> None:
        if math.isfinite(value):
            return
        kept = (
            "There was no checkpoint yet"
            if self._saved_step is None
            else f"The checkpoint of step {self._saved_step} is kept"
        )
        at = f" with a learning rate of {rate:.3g}" if rate is not None else ""
        raise TrainingError(
            f"the {what} is {value} at step {step}{at}. {kept}; try a lower --learning-rate, a "
            "longer --warmup or a smaller --clip"
        )

    def _moment(self) -> Moment:
        progress = self.progress
        seconds = time.monotonic() - self._started
        return Moment(progress.step, self.total, progress.tokens, seconds, self._last_loss)


def _refuse_other(config: TrainConfig, fixed: dict[str, Value]) -> None:
    for name, value in fixed.items():
        if getattr(config, name) != value:
            raise TrainingError(
                f"the run was started with {name} {value!r}, not {getattr(config, name)!r}: leave "
                "it as it was, or start again with --overwrite"
            )
