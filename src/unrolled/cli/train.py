"""``unrolled train <kind>``: a model from data, or the rest of a run that was stopped."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tqdm import tqdm

import unrolled.cli.train_settings as train_settings
from unrolled.cli.device import compute_deterministically, find_device
from unrolled.cli.eval import terminal_width, write_json
from unrolled.cli.options import pick
from unrolled.cli.progress import Progress
from unrolled.cli.samples import SampleConfig, Samples
from unrolled.data.fingerprint import differing
from unrolled.errors import TrainingError
from unrolled.tasks import render
from unrolled.tasks.kind import Cache, Kind, Prepared
from unrolled.tasks.report import Report
from unrolled.tasks.table import kind_called
from unrolled.train.config import TrainConfig
from unrolled.train.directory import RunDirectory, Settings
from unrolled.train.observe import Observer
from unrolled.train.processes import Processes, joined, started_as
from unrolled.train.progress import Result
from unrolled.train.task import Metric
from unrolled.train.tensorboard import TensorBoard
from unrolled.train.trainer import Trainer

REPORT = "report.json"

# Exit statuses of what a signal stopped, as shells know them.
_STATUS = {"Ctrl-C": 130, "SIGTERM": 143}


def run(arguments: list[str], name: str) -> int:
    """Trains a model of the kind called ``name``, and gives the exit status."""
    kind = kind_called(name)
    options = train_settings.options(kind)
    values: dict[str, Any] = {"data": [], **options.read(arguments)}
    directory = RunDirectory(values["output"])
    directory.refuse_to_overwrite(overwrite=values["overwrite"], resume=values["resume"])
    begun = directory.read_settings() if values["resume"] and directory.holds_run() else None
    if begun is not None:
        if begun.kind != name:
            raise TrainingError(
                f"{directory.path} holds a run of unrolled train {begun.kind}: go on with that, or "
                "name another directory with --output"
            )
        given = options.given(arguments)
        values, notes = train_settings.as_begun(kind, values, begun.options, given)
        for note in notes:
            _note(note)
    elif values["resume"] and not values["data"]:
        raise TrainingError(
            f"there is no run in {directory.path} to go on with: name its directory with --output"
        )
    device = find_device(values["device"])
    compute_deterministically(device)
    processes = started_as()
    with joined(processes, device):
        result = train(kind, values, directory, begun, device, processes)
    if not processes.first:
        return 0
    _say_how_it_ended(result, kind, directory)
    interrupted = result.ending == "interrupted"
    return _STATUS.get(result.cause, 0) if interrupted else 0


def train(
    kind: Kind,
    values: dict[str, Any],
    directory: RunDirectory,
    begun: Settings | None,
    device: torch.device,
    processes: Processes,
    watch: Callable[[Metric], Observer] | None = None,
) -> Result:
    """Trains with these options, and writes the report on held-out data at a run's end.

    Args:
        kind: What is trained.
        values: All options of ``unrolled train <kind>`` by name.
        directory: Where the run is.
        begun: What the run was begun with, where it goes on.
        device: Where to compute.
        processes: Those that train together.
        watch: From the figure that decides to one more who sees the run go by.
    """
    # Whatever is wrong with the settings is to be said before the data is read.
    config = pick(TrainConfig, values)
    if config.precision == "float16" and device.type == "cpu":
        raise TrainingError("float16 needs a GPU: use --precision bfloat16, or leave it out")
    data, model_config = pick(kind.data, values), pick(kind.config, values)
    samples = pick(SampleConfig, values) if kind.draw else None
    with (
        directory.locked() if processes.first else nullcontext(),
        # Processes must not write the same files, and the first one's alone are kept.
        nullcontext(directory.data) if processes.first else TemporaryDirectory() as place,
    ):
        with tqdm(desc="reading the data", unit_scale=True, disable=_hidden(processes)) as bar:

            def show(done: int) -> None:
                bar.update(done - bar.n)

            same = begun is not None and values["data"] == begun.options["data"]
            cache = Cache(Path(place), begun.fingerprint if begun and same else None, show)
            prepared = kind.prepare(values["data"], data, model_config, config, cache)
        if begun is not None and (others := differing(prepared.fingerprint, begun.fingerprint)):
            raise TrainingError(
                f"the data is not that which the run was begun with (what differs: "
                f"{', '.join(others)}): put that back, or start again with --overwrite"
            )
        model = prepared.model.to(device)
        total = config.total_steps(len(prepared.task.training))
        observers: Sequence[Observer] = ()
        if processes.first:
            observers = _observers(kind, values, samples, config, prepared, total, directory)
        environment = _environment(device)
        if begun is not None:
            _note_changes(begun.environment, environment, processes)
        elif processes.first:
            directory.clear(keep=prepared.files)
            kept = train_settings.kept(values)
            fingerprint = dict(prepared.fingerprint)
            directory.write_settings(Settings(kind.name, kept, fingerprint, environment))
        # Nobody reads checkpoints before those of an earlier run are gone.
        processes.from_first(None)
        trainer = Trainer(
            model,
            prepared.task,
            config,
            directory.training,
            lambda: model.save_pretrained(directory.path, overwrite=True),
            processes,
        )
        if processes.first:
            for note in trainer.notes:
                _note(note)
            _say_what(prepared, model_config, trainer, device, processes)
        if watch is not None:
            observers = [*observers, watch(prepared.task.metric)]
        result = trainer.run(observers)
        if processes.first and result.ending in ("complete", "early") and prepared.report:
            best = kind.model.from_pretrained(directory.path, device)
            _write_report(prepared.report(best), directory)
    return result


def _observers(
    kind: Kind,
    values: dict[str, Any],
    samples: SampleConfig | None,
    config: TrainConfig,
    prepared: Prepared,
    total: int,
    directory: RunDirectory,
) -> Sequence[Observer]:
    observers: list[Observer] = [Progress(prepared.unit)]
    draw = kind.draw
    if samples is not None and draw is not None:
        c, model = samples, prepared.model
        observers.append(
            Samples(
                c,
                total,
                lambda: draw(
                    model, c.sample_prompt, c.sample_length, c.sample_temperature, config.seed
                ),
            )
        )
    if values["tensorboard"]:
        observers.append(TensorBoard(directory.training / "tensorboard"))
    return observers


def _write_report(report: Report, directory: RunDirectory) -> None:
    write_json(directory.training / REPORT, report)
    print(render.to_text(report, terminal_width()))


def _environment(device: torch.device) -> dict[str, str | int]:
    """What the same bits depend on besides the settings."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device.type,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _note_changes(
    before: dict[str, str | int], now: dict[str, str | int], processes: Processes
) -> None:
    changed = [
        f"{name} {before.get(name)} then, {value} now"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if changed and processes.first:
        _note(
            f"{', '.join(changed)}: what follows may differ in its last bits from a run that was "
            "not stopped"
        )


def _say_what(
    prepared: Prepared, config: Any, trainer: Trainer, device: torch.device, processes: Processes
) -> None:
    parameters = sum(parameter.numel() for parameter in prepared.model.parameters())
    threads = f", {torch.get_num_threads()} threads" if device.type == "cpu" else ""
    together = f", {processes.size} processes" if processes.size > 1 else ""
    print(
        *prepared.facts,
        f"model: {config.cell}, {config.num_layers} × {config.hidden_size} units, "
        f"{parameters:,} parameters",
        f"training: {trainer.total:,} steps on {device.type}{threads}{together}",
        sep="\n",
        flush=True,
    )
    if trainer.progress.step:
        print(f"going on from step {trainer.progress.step:,}", flush=True)


def _say_how_it_ended(result: Result, kind: Kind, directory: RunDirectory) -> None:
    progress = result.progress
    where = f"step {progress.step:,} of {result.total:,}"
    if result.ending in ("interrupted", "out of time"):
        cause = result.cause or "the time limit"
        again = [_program(), "train", kind.name, "--output", str(directory.path), "--resume"]
        print(f"stopped by {cause} at {where}; all is saved. Go on with: {shlex.join(again)}")
        return
    if result.ending == "early":
        print(f"stopped early at {where}: validation got no better")
    best = f" (of step {progress.best_step:,}, the best)" if progress.best is not None else ""
    use = "sample" if kind.draw else "predict"
    command = shlex.join([_program(), use, str(directory.path)])
    print(f"the model{best} is in {directory.path}: try {command}")


def _hidden(processes: Processes) -> bool | None:
    """No bar in the other processes; None leaves it to whether there is a terminal."""
    return None if processes.first else True


def _program() -> str:
    """What to type for this program: its path, where the shell would not find it by its name."""
    typed = sys.argv[0]
    hidden = Path(typed).name == "unrolled" and shutil.which("unrolled") is None
    return typed if hidden else "unrolled"


def _note(text: str) -> None:
    print(f"unrolled: note: {text}", file=sys.stderr)
