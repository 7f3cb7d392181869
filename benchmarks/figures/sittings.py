"""A model that trains in sittings, by the trainer and a configuration of ``unrolled train lm``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from benchmarks.peers.contestant import package
from unrolled.data.corpus import find
from unrolled.data.tokens import TokenFile, encode_corpus
from unrolled.data.windows import Stream
from unrolled.models.config import LanguageModelConfig
from unrolled.models.language_model import LanguageModel
from unrolled.tasks import language_model
from unrolled.tasks.language_model import KIND, TextConfig
from unrolled.train.config import TrainConfig
from unrolled.train.metrics import read
from unrolled.train.observe import Moment, Observer
from unrolled.train.trainer import METRICS, Trainer

Layers = Literal["ours", "torch.nn"]

LOG_EVERY = 10
NEVER = 1 << 40


@dataclass(frozen=True)
class Task:
    """What is learnt, from what: a configuration without validation, as that is no training."""

    model: LanguageModelConfig
    training: TrainConfig
    tokens: TokenFile
    stream: Stream


def task(config: Path, corpus: Sequence[str], directory: Path) -> Task:
    """What ``unrolled train lm CORPUS… --config FILE`` would learn; tokens go to ``directory``."""
    package("jsonargparse")  # says how to install it
    from unrolled.cli.options import pick
    from unrolled.cli.train_settings import options

    values = {"data": [], **options(KIND).read(["--config", str(config), *corpus])}
    text, training = pick(TextConfig, values), pick(TrainConfig, values)
    training = replace(training, log_every=LOG_EVERY, checkpoint_every=NEVER)
    sources = find(values["data"], text.pattern)
    tokens = encode_corpus(sources, text.vocabulary, directory, text.encoding)
    learn, *_ = tokens.split(text.validation_fraction)
    stream = Stream(learn, training.batch_size, text.window)
    return Task(pick(LanguageModelConfig, values), training, tokens, stream)


class _Watch(Observer):
    """Where a sitting began, and where its last step ended."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []

    def started(self, moment: Moment) -> None:
        self.moments.append(moment)

    def stepped(self, moment: Moment) -> None:
        self.moments[1:] = [moment]


class Learner:
    """One run, sitting by sitting, with our compiled layers or with ``torch.nn``'s."""

    def __init__(self, of: Task, layers: Layers, directory: Path) -> None:
        directory.mkdir()
        torch.manual_seed(of.training.seed)
        self._model: nn.Module = LanguageModel(of.model, of.tokens.vocabulary)
        self._task = of
        self._directory = directory
        if layers == "torch.nn":
            put_stock_layers(self._model)
        else:
            self._model.get_submodule("recurrent").backend = "cpu"  # type: ignore[assignment]

    def sit(self, seconds: float) -> float:
        """Train for so long, at least a step; gives the characters a second."""
        training = replace(self._task.training, max_minutes=seconds / 60)
        watch = _Watch()
        trainer = Trainer(
            self._model,
            language_model.task(self._task.stream, None),
            training,
            self._directory,
            lambda: None,
        )
        trainer.run([watch])
        if len(watch.moments) != 2:
            raise ValueError(f"no step in {seconds} s: the run has ended, or the machine is busy")
        began, ended = watch.moments
        return (ended.targets - began.targets) / (ended.seconds - began.seconds)

    def losses(self) -> dict[int, float]:
        """The mean training loss of each ``LOG_EVERY`` steps, by the last of them."""
        path = self._directory / METRICS
        return {line["step"]: line["loss"] for line in read(path)} if path.exists() else {}


def put_stock_layers(model: nn.Module) -> None:
    """Put ``torch.nn``'s layers in the place of a language model's drop-ins, with their values."""
    ours = model.get_submodule("recurrent")
    if not isinstance(ours, nn.RNNBase):
        raise TypeError(f"torch.nn has no layer for {ours}")
    kind = {"LSTM": nn.LSTM, "GRU": nn.GRU, "RNN_TANH": nn.RNN}[ours.mode]
    stock = kind(ours.input_size, ours.hidden_size, ours.num_layers, dropout=ours.dropout)
    stock.load_state_dict(ours.state_dict())
    model.set_submodule("recurrent", stock)
