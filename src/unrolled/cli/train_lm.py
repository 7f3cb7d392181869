"""``unrolled train lm``: a language model from a corpus, or the rest of a run that was stopped."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

import unrolled.cli.train_settings as train_settings
from unrolled.cli.device import compute_deterministically, find_device
from unrolled.cli.figures import UNITS, in_words
from unrolled.cli.options import pick
from unrolled.cli.progress import Progress
from unrolled.cli.samples import SampleConfig, Samples
from unrolled.cli.train_settings import VOCABULARY, CorpusConfig
from unrolled.data.corpus import find
from unrolled.data.tokens import TokenFile, encode_corpus, find_encoded
from unrolled.data.vocabulary import VocabularyConfig
from unrolled.data.windows import Stream
from unrolled.errors import TrainingError
from unrolled.models.config import LanguageModelConfig
from unrolled.models.language_model import LanguageModel
from unrolled.train.config import TrainConfig
from unrolled.train.directory import RunDirectory, Settings
from unrolled.train.evaluate import validation_stream
from unrolled.train.observe import Observer
from unrolled.train.progress import Result
from unrolled.train.tensorboard import TensorBoard
from unrolled.train.trainer import Trainer

# Exit statuses of what a signal stopped, as shells know them.
_STATUS = {"Ctrl-C": 130, "SIGTERM": 143}


def run(arguments: list[str]) -> int:
    """Trains, and gives the exit status."""
    options = train_settings.options()
    values: dict[str, Any] = {"corpus": [], **options.read(arguments)}
    directory = RunDirectory(values["output"])
    directory.refuse_to_overwrite(overwrite=values["overwrite"], resume=values["resume"])
    begun = directory.read_settings() if values["resume"] and directory.holds_run() else None
    if begun is not None:
        given = options.given(arguments)
        values, notes = train_settings.as_begun(values, begun.options, given)
        for note in notes:
            _note(note)
    elif values["resume"] and not values["corpus"]:
        raise TrainingError(
            f"there is no run in {directory.path} to go on with: name its directory with --output"
        )
    # Whatever is wrong with the settings is to be said before the corpus is read.
    config = pick(TrainConfig, values)
    model_config = pick(LanguageModelConfig, values)
    samples = pick(SampleConfig, values)
    device = find_device(values["device"])
    compute_deterministically(device)

    with directory.locked():
        tokens = _tokens(values, begun, directory)
        torch.manual_seed(config.seed)
        model = LanguageModel(model_config, tokens.vocabulary).to(device)
        training, validation = _streams(tokens, config, values["validation_fraction"])
        observers = _observers(values, samples, config, model, len(training), directory)
        if begun is None:
            directory.clear(keep=tokens.path)
            kept = train_settings.kept(values)
            directory.write_settings(Settings(kept, tokens.fingerprint, _environment(device)))
        else:
            _note_changes(begun.environment, _environment(device))
        trainer = Trainer(
            model,
            training,
            validation,
            config,
            directory.training,
            lambda: model.save_pretrained(directory.path, overwrite=True),
        )
        for line in trainer.damaged:
            _note(f"{line}; going on from step {trainer.progress.step}")
        _say_what(model, tokens, trainer, config)
        result = trainer.run(observers)
    return _say_how_it_ended(result, tokens, directory)


def _tokens(values: dict[str, Any], begun: Settings | None, directory: RunDirectory) -> TokenFile:
    """The encoded corpus; for a run that goes on, the one that it was begun with."""
    cache = Path(values["cache"] or directory.training)
    if begun is not None and values["corpus"] == begun.options["corpus"]:
        found = find_encoded(cache, begun.fingerprint)
        if found is not None:
            return found
    corpus = pick(CorpusConfig, values)
    sources = find(values["corpus"], corpus.pattern)
    vocabulary = pick(VocabularyConfig, values, VOCABULARY)
    with tqdm(desc="reading the corpus", unit="token", unit_scale=True, disable=None) as bar:

        def show(written: int) -> None:
            bar.update(written - bar.n)

        tokens = encode_corpus(sources, vocabulary, cache, corpus.encoding, show)
    if begun is not None and tokens.fingerprint != begun.fingerprint:
        raise TrainingError(
            "the corpus is not the one that the run was begun with: put that back, or start again "
            "with --overwrite"
        )
    return tokens


def _streams(
    tokens: TokenFile, config: TrainConfig, validation_fraction: float
) -> tuple[Stream, Stream | None]:
    learn, validate = tokens.split(validation_fraction)
    training = Stream(learn, config.batch_size, config.window)
    if not validation_fraction:
        return training, None
    return training, validation_stream(validate, config.batch_size, config.window)


def _observers(
    values: dict[str, Any],
    samples: SampleConfig,
    config: TrainConfig,
    model: LanguageModel,
    windows: int,
    directory: RunDirectory,
) -> Sequence[Observer]:
    def draw() -> Any:
        return model.generate(
            samples.sample_prompt,
            samples.sample_length,
            samples.sample_temperature,
            seed=config.seed,
        )

    observers: list[Observer] = [
        Progress(model.vocabulary.kind),
        Samples(samples, config.total_steps(windows), draw),
    ]
    if values["tensorboard"]:
        observers.append(TensorBoard(directory.training / "tensorboard"))
    return observers


def _environment(device: torch.device) -> dict[str, str | int]:
    """What the same bits depend on besides the settings."""
    return {
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "device": device.type,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


def _note_changes(before: dict[str, str | int], now: dict[str, str | int]) -> None:
    changed = [
        f"{name} {before.get(name)} then, {value} now"
        for name, value in now.items()
        if before.get(name) != value
    ]
    if changed:
        _note(
            f"{', '.join(changed)}: what follows may differ in its last bits from a run that was "
            "not stopped"
        )


def _say_what(
    model: LanguageModel, tokens: TokenFile, trainer: Trainer, config: TrainConfig
) -> None:
    unit = UNITS[model.vocabulary.kind]
    parameters = sum(parameter.numel() for parameter in model.parameters())
    threads = f", {torch.get_num_threads()} threads" if model.device.type == "cpu" else ""
    print(
        f"corpus: {len(tokens):,} {unit}s, {len(tokens.vocabulary):,} different\n"
        f"model: {model.config.cell}, {model.config.num_layers} × {model.config.hidden_size} "
        f"units, {parameters:,} parameters\n"
        f"training: {trainer.total:,} steps of {config.batch_size} × {config.window} {unit}s on "
        f"{model.device.type}{threads}",
        flush=True,
    )
    if trainer.progress.step:
        print(f"going on from step {trainer.progress.step:,}", flush=True)


def _say_how_it_ended(result: Result, tokens: TokenFile, directory: RunDirectory) -> int:
    progress = result.progress
    where = f"step {progress.step:,} of {result.total:,}"
    if result.ending in ("interrupted", "out of time"):
        cause = result.cause or "the time limit"
        again = [_program(), "train", "lm", "--output", str(directory.path), "--resume"]
        print(f"stopped by {cause} at {where}; all is saved. Go on with: {shlex.join(again)}")
        return _STATUS.get(result.cause, 0)
    if result.ending == "early":
        print(f"stopped early at {where}: validation got no better")
    if progress.best_loss is not None:
        print(
            f"the best model, of step {progress.best_step:,}, on the validation part: "
            f"{in_words(progress.best_loss, tokens.vocabulary.kind)}"
        )
    sample = shlex.join([_program(), "sample", str(directory.path)])
    print(f"the model is in {directory.path}: try {sample}")
    return 0


def _program() -> str:
    """What to type for this program: its path, where the shell would not find it by its name."""
    typed = sys.argv[0]
    hidden = Path(typed).name == "unrolled" and shutil.which("unrolled") is None
    return typed if hidden else "unrolled"


def _note(text: str) -> None:
    print(f"unrolled: note: {text}", file=sys.stderr)
