"""The training loop: batches in, updates out; measured, saved, and resumed where it stopped.

All that decides the next update is in the progress, the snapshot of the tensors and the settings,
and what happens after a step depends on these alone, never on the clock. So a run that is killed
and resumed makes the same updates, and writes the same metrics, as one that is not: bit for bit on
one processor, with one version of torch and as many threads and processes. On a GPU this holds but
for dropout between layers, since cuDNN keeps random numbers of its own there.

Where a task carries a state from batch to batch, as that of a long text does, this is truncated
backpropagation through time: the state goes on, gradients don't.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from unrolled.data.batch import Batch
from unrolled.errors import TrainingError
from unrolled.train import checkpoint, snapshot
from unrolled.train.config import FIXED, TrainConfig
from unrolled.train.interrupt import StopSignals
from unrolled.train.metrics import JsonLines, Value
from unrolled.train.observe import Moment, Observer
from unrolled.train.processes import ALONE, Processes
from unrolled.train.progress import Ending, Progress, Result
from unrolled.train.schedule import learning_rate
from unrolled.train.task import State, Task
from unrolled.train.update import Updater

METRICS = "metrics.jsonl"
TIMING = "timing.jsonl"

# Between the seeds of two processes.
_APART = 1_000_003


class Trainer:
    """A run, from its newest checkpoint or from its start.

    Attributes:
        progress: Where it is.
        total: The updates of the whole run.
        notes: A line for each thing that a resumed run should know: a damaged checkpoint that was
            passed over, another number of processes than before.
    """

    def __init__(
        self,
        model: nn.Module,
        task: Task,
        config: TrainConfig,
        directory: Path,
        save_best: Callable[[], None],
        processes: Processes = ALONE,
    ) -> None:
        """Reads the newest whole checkpoint, if there is one; writes nothing.

        Args:
            model: What learns.
            task: What it learns; the batches are the same in all processes.
            config: The settings.
            directory: Where checkpoints and metrics are. It exists.
            save_best: Saves the model for use; called in the first process when the model is better
                than before.
            processes: Those that train together. The first alone writes.

        Raises:
            TrainingError: where there are checkpoints, but none is whole, or the newest is of
                another model or of other settings.
        """
        self.total = config.total_steps(len(task.training))
        self._model = model
        self._task = task
        self._config = config
        self._directory = directory
        self._save_best = save_best
        self._processes = processes
        self._updater = Updater(model, task, config, processes)
        self._saved_step: int | None = None
        self._last_loss: float | None = None
        self._moved: float | None = None
        self._fixed = {name: getattr(config, name) for name in sorted(FIXED)}
        self._fixed["batches an epoch"] = len(task.training)

        found = checkpoint.newest(directory)
        notes = list(found.damaged)
        # The first draws as it would alone; the others draw other numbers, the same each time.
        torch.manual_seed(config.seed + _APART * processes.rank)
        self.progress = Progress()
        self._state: State | None = None
        if found.checkpoint is not None:
            values, tensors = found.checkpoint.values, found.checkpoint.tensors
            _refuse_other(self._fixed, values["fixed"])
            self.progress = Progress(**values["progress"])
            optimizer = self._updater.optimizer
            state = snapshot.put_back(tensors, model, optimizer, processes.rank)
            if state is not None:
                rows = processes.share(state[0].shape[1])
                self._state = tuple(s[:, rows] for s in state)
            self._updater.scaler.load_state_dict(values["scaler"])
            self._saved_step = self.progress.step
            notes = [f"{line}; going on from step {self.progress.step}" for line in notes]
            if values["processes"] != processes.size:
                notes.append(
                    f"the run was trained by {_count(values['processes'])} and goes on with "
                    f"{_count(processes.size)}: the batches stay the same, each is shared "
                    "otherwise; random numbers such as dropout's are others from here on"
                )
        self.notes = tuple(notes)

    def run(self, observers: Sequence[Observer] = ()) -> Result:
        """Trains to the end, or until a signal, an observer or the clock says so; it is saved.

        Raises:
            TrainingError: where loss, gradient or parameters are not finite, or a file can't be
                written. The last checkpoint is whole.
        """
        self._observers = observers
        self._started = time.monotonic() - self.progress.seconds
        self._began_at = self.progress.step
        minutes = self._config.max_minutes
        deadline = math.inf if minutes is None else time.monotonic() + 60 * minutes
        with StopSignals() as signals, self._files() as (self._metrics, self._timing):
            for observer in observers:
                observer.started(self._moment())
            try:
                batches = self._batches()
                while (ending := self._ending(signals, deadline)) is None:
                    self._update(next(batches))
                    self._measure()
                    for observer in observers:
                        observer.stepped(self._moment())
                    if self.progress.step % self._config.checkpoint_every == 0:
                        self._save()
                self._save()
            finally:
                for observer in observers:
                    observer.finished(self._moment())
        causes = [signals.name, *(observer.stop for observer in observers)]
        gathered = self._processes.gathered(next(filter(None, causes), ""))
        cause = next(filter(None, gathered), "")
        return Result(ending, cause, self.progress, self.total)

    @contextmanager
    def _files(self) -> Generator[tuple[JsonLines, JsonLines] | tuple[None, None], None, None]:
        """Metrics and timing; in the first process alone."""
        if not self._processes.first:
            yield None, None
            return
        progress = self.progress
        with (
            JsonLines(self._directory / METRICS, progress.metrics_size) as metrics,
            JsonLines(self._directory / TIMING, progress.timing_size) as timing,
        ):
            yield metrics, timing

    def _ending(self, signals: StopSignals, deadline: float) -> Ending | None:
        """Why to stop here, which is the same in all processes."""
        patience = self._config.patience
        if self.progress.step >= self.total:
            return "complete"
        if patience is not None and self.progress.stale >= patience:
            return "early"
        told = any(observer.stop for observer in self._observers)
        asked = float(told or signals.received is not None)
        # However short the time is, a sitting gets further.
        over = self.progress.step > self._began_at and time.monotonic() >= deadline
        interrupted, late = self._processes.sums([asked, float(over)])
        if interrupted:
            return "interrupted"
        return "out of time" if late else None

    def _batches(self) -> Iterator[Batch]:
        """Epoch after epoch from where the run is; each starts from the initial state."""
        while True:
            yield from self._task.training.batches(self.progress.epoch, self.progress.batch)
            self.progress.epoch += 1
            self.progress.batch = 0
            self._state = None

    def _update(self, batch: Batch) -> None:
        """One step: forward and backward through a batch, and a change of the parameters."""
        progress, config = self.progress, self._config
        rate = learning_rate(config, progress.step, self.total, progress.reductions)
        found = self._updater.gradients(batch, self._state)
        self._last_loss = found.loss
        self._refuse_unless_finite("loss", found.loss, progress.step + 1, rate)
        # The scaler leaves out a step whose gradient overflowed in float16, and scales less.
        overflowed = self._updater.scaler.is_enabled() and not math.isfinite(found.norm)
        if not overflowed:
            self._refuse_unless_finite("gradient norm", found.norm, progress.step + 1, rate)
        self._moved = self._updater.step(rate, measure=self._logs(progress.step + 1))
        self._state = found.state

        progress.step += 1
        progress.batch += 1
        progress.targets += found.targets
        progress.loss_sum += found.loss * found.targets
        progress.loss_targets += found.targets
        if not overflowed:
            progress.norm_sum += found.norm
            progress.clipped_norm_sum += found.clipped_norm
            progress.norm_steps += 1
            progress.clipped += config.clip > 0 and found.norm > config.clip

    def _measure(self) -> None:
        """The line of metrics and the validation, where they are due."""
        step, last = self.progress.step, self.progress.step == self.total
        if self._logs(step):
            self._log_training()
        if self._task.validate and (last or step % self._config.evaluate_every == 0):
            self._validate(self._task.validate)

    def _logs(self, step: int) -> bool:
        return step == self.total or step % self._config.log_every == 0

    def _log_training(self) -> None:
        progress = self.progress
        rate = learning_rate(self._config, progress.step - 1, self.total, progress.reductions)
        # Of the last step alone; an update that overflowed has no ratio that a file could hold.
        moved = dict[str, Value]()
        if self._moved is not None and math.isfinite(self._moved):
            moved["update_ratio"] = self._moved
        self._record(
            {
                "split": "train",
                "loss": progress.loss_sum / progress.loss_targets,
                "learning_rate": rate,
                "gradient_norm": progress.norm_sum / max(1, progress.norm_steps),
                "clipped_gradient_norm": progress.clipped_norm_sum / max(1, progress.norm_steps),
                "clipped": progress.clipped / max(1, progress.norm_steps),
                **moved,
            }
        )
        progress.loss_sum = progress.norm_sum = progress.clipped_norm_sum = 0.0
        progress.loss_targets = progress.norm_steps = progress.clipped = 0
        if self._timing is not None:
            seconds = time.monotonic() - self._started
            self._timing.write(
                {"step": progress.step, "targets": progress.targets, "seconds": seconds}
            )

    def _validate(self, validate: Callable[[nn.Module], Mapping[str, float]]) -> None:
        """Measures in the first process, while the others wait for what it finds."""
        progress, config, metric = self.progress, self._config, self._task.metric
        figures = dict(validate(self._model)) if self._processes.first else {}
        figures = self._processes.from_first(figures)
        for name, value in figures.items():
            self._refuse_unless_finite(f"validation {name}", value, progress.step)
        self._record({"split": "validation", **figures})
        value = figures[metric.name]
        if metric.improves(value, progress.best):
            progress.best, progress.best_step = value, progress.step
            progress.stale = progress.stale_for_reduction = 0
            if self._processes.first:
                self._save_best()
            return
        progress.stale += 1
        progress.stale_for_reduction += 1
        if config.schedule == "plateau" and progress.stale_for_reduction >= config.plateau_patience:
            progress.reductions += 1
            progress.stale_for_reduction = 0

    def _record(self, values: dict[str, Value]) -> None:
        progress = self.progress
        epoch = progress.epoch + progress.batch / len(self._task.training)
        record = {"step": progress.step, "epoch": epoch, "targets": progress.targets, **values}
        if self._metrics is not None:
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
        state = _together(self._processes.gathered(self._state))
        generators = self._processes.gathered(torch.get_rng_state())
        self._saved_step = progress.step
        if self._metrics is None or self._timing is None:
            return
        if self._task.validate is None:
            self._save_best()
        progress.metrics_size = self._metrics.sync()
        progress.timing_size = self._timing.sync()
        progress.seconds = time.monotonic() - self._started
        tensors = snapshot.take(self._model, self._updater.optimizer, state, generators)
        values = {
            "progress": asdict(progress),
            "fixed": self._fixed,
            "scaler": self._updater.scaler.state_dict(),
            "processes": self._processes.size,
        }
        checkpoint.save(self._directory, checkpoint.Checkpoint(progress.step, tensors, values))

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
        return Moment(progress.step, self.total, progress.targets, seconds, self._last_loss)


def _together(states: Sequence[State | None]) -> State | None:
    """The rows of all processes' states."""
    held = [state for state in states if state is not None]
    return (
        tuple(torch.cat([s.cpu() for s in parts], 1) for parts in zip(*held, strict=True)) or None
    )


def _count(processes: int) -> str:
    return "one process" if processes == 1 else f"{processes} processes"


def _refuse_other(now: Mapping[str, Value], begun: Mapping[str, Value]) -> None:
    for name, value in begun.items():
        if now.get(name) != value:
            raise TrainingError(
                f"the run was started with {name} {value!r}, not {now.get(name)!r}: leave it as it "
                "was, or start again with --overwrite"
            )
