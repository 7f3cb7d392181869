"""Language models: each token of a text from those before it (many to many).

Training is truncated backpropagation through time: the text is cut into streams side by side and
these into windows; the state goes on from window to window, gradients don't. The report is on the
test part, or where there is none on that of validation: the mean cross-entropy, beside that of the
tokens' frequencies in training.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.data.bad_rows import BadRows
from unrolled.data.batch import Batch, Sequences
from unrolled.data.corpus import find
from unrolled.data.tokens import TokenFile, encode_corpus, frequencies
from unrolled.data.vocabulary import Ids
from unrolled.data.windows import Stream
from unrolled.errors import TrainingError
from unrolled.models.config import LanguageModelConfig
from unrolled.models.language_model import LanguageModel
from unrolled.models.modes import evaluating
from unrolled.models.scoring import score_lines
from unrolled.tasks.bootstrap import Statistics, interval
from unrolled.tasks.kind import Cache, Kind, Prepared
from unrolled.tasks.language_model_data import TextConfig, read_texts
from unrolled.tasks.report import Figure, Report
from unrolled.tasks.words import counted
from unrolled.train import fit
from unrolled.train.config import TrainConfig
from unrolled.train.progress import Result
from unrolled.train.task import State, Task

TOKENS, TARGETS = "tokens", "targets"

# Nats whose exponential is a float.
_LARGEST = 700
# Streams side by side where a text is only read.
_ROWS = 8


@dataclass(frozen=True)
class Windows:
    """The windows of a text as batches, the same each epoch."""

    stream: Stream

    def __len__(self) -> int:
        """The windows of an epoch."""
        return len(self.stream)

    def batches(self, epoch: int = 0, start: int = 0) -> Iterator[Batch]:
        """Those from window ``start`` on: tokens and targets, int64 ``[T, B]`` each."""
        for x, y in self.stream.batches(start):
            yield Batch(x.shape[1], {TOKENS: Sequences(x), TARGETS: Sequences(y)})


def loss(model: nn.Module, batch: Batch, state: State | None) -> tuple[Tensor, State | None]:
    """The cross-entropy in nats, summed, and the state to go on with."""
    logits, state = model(batch.sequences[TOKENS].data, state)
    targets = batch.sequences[TARGETS].data
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum"), state


def task(training: Stream, validation: Stream | None) -> Task:
    """What a language model learns from one stream, measured on another."""
    return Task(
        Windows(training),
        loss,
        lambda batch: batch.sequences[TARGETS].steps(),
        None if validation is None else lambda model: _figures(mean_loss(model, validation)),
    )


def _figures(loss: float) -> dict[str, float]:
    return {
        "loss": loss,
        "bits": loss / math.log(2),
        "perplexity": math.exp(min(loss, _LARGEST)),
    }


def held_stream(tokens: Ids, batch_size: int, window: int, part: str = "validation") -> Stream:
    """``tokens`` in ``batch_size`` streams; in fewer and shorter ones where there is little text.

    Raises:
        TrainingError: where there is nothing to predict.
    """
    if len(tokens) < 2:
        raise TrainingError(
            f"the {part} part has {counted(len(tokens), 'token')}, which leaves nothing to "
            f"predict: raise the {part} fraction, or set it to 0 to do without"
        )
    window = min(window, len(tokens) - 1)
    return Stream(tokens, max(1, min(batch_size, (len(tokens) - 1) // window)), window)


def window_losses(model: nn.Module, stream: Stream) -> Iterator[tuple[float, int]]:
    """For each window the summed cross-entropy and its tokens, the state carried between them."""
    device = next(model.parameters()).device
    state: State | None = None
    with evaluating(model), torch.no_grad():
        for batch in Windows(stream).batches():
            found, state = loss(model, batch.to(device), state)
            yield found.item(), batch.sequences[TARGETS].steps()


def mean_loss(model: nn.Module, stream: Stream) -> float:
    """Nats per token, with the model in evaluation mode; its mode is as before afterwards."""
    found = list(window_losses(model, stream))
    return math.fsum(total for total, _ in found) / sum(n for _, n in found)


def fit_text(
    model: LanguageModel,
    text: str,
    directory: str | os.PathLike[str],
    config: TrainConfig | None = None,
    validation_fraction: float = 0.1,
    window: int = 64,
) -> Result:
    """Train ``model`` on ``text`` and leave the best of it in ``directory``.

    The last ``validation_fraction`` of the text is kept for validation; 0 is none.  ``window`` is
    the number of time steps between two updates.

    Raises:
        TrainingError: where ``directory`` holds a model or a run, or where the loss is not finite.
        DataError: where the text is too short for a window.
    """
    data = TextConfig(window=window, validation_fraction=validation_fraction)
    settings = config or TrainConfig()
    tokens = model.vocabulary.encode(text)
    cut = len(tokens) - round(len(tokens) * validation_fraction)
    learned = task(*_streams(tokens[:cut], tokens[cut:], settings.batch_size, data))
    return fit(model, learned, directory, settings)


def _streams(
    learn: Ids, validate: Ids, batch_size: int, data: TextConfig
) -> tuple[Stream, Stream | None]:
    training = Stream(learn, batch_size, data.window)
    if not data.validation_fraction:
        return training, None
    return training, held_stream(validate, batch_size, data.window)


def _prepare(
    words: Sequence[str],
    data: TextConfig,
    config: LanguageModelConfig,
    settings: TrainConfig,
    cache: Cache,
) -> Prepared:
    texts = read_texts(words, data, cache)
    vocabulary = texts.whole.vocabulary
    torch.manual_seed(settings.seed)
    model = LanguageModel(config, vocabulary)
    training = Stream(texts.training, settings.batch_size, data.window)
    validation, test = (
        None if ids is None else held_stream(ids, settings.batch_size, data.window, part)
        for part, ids in (("validation", texts.validation), ("test", texts.test))
    )
    seen = frequencies(texts.training, len(vocabulary))
    unit = vocabulary.unit

    def judged(model: Any) -> Report:
        if test is not None:
            return _report(model, test, seen, f"{_predictions(test, unit)} of the test part")
        assert validation is not None
        on = f"{_predictions(validation, f'held-out {unit}')}"
        return _report(model, validation, seen, on).on_validation()

    return Prepared(
        model,
        task(training, validation),
        (
            _size(texts.whole),
            *(f"{part}: {counted(len(f), unit)}" for part, f in texts.own.items()),
            *texts.facts(),
            f"a step: {settings.batch_size} × {counted(data.window, unit)}",
        ),
        texts.fingerprint(),
        None if test is None and validation is None else judged,
        unit,
        files=texts.files(),
    )


def _size(text: TokenFile) -> str:
    """How much text there is, without the special tokens, which the user did not write."""
    vocabulary = text.vocabulary
    counts = frequencies(text.tokens, len(vocabulary))
    ends = 0 if vocabulary.eos is None else counts[vocabulary.eos]
    special = [k for k in (vocabulary.eos, vocabulary.unk) if k is not None]
    different = np.count_nonzero(np.delete(counts, special))
    return f"data: {counted(len(text) - ends, vocabulary.unit)}, {different:,} different"


def _predictions(stream: Stream, unit: str) -> str:
    return counted(stream.steps * stream.batch_size, unit)


def _report(model: Any, stream: Stream, learned: NDArray[np.int64], on: str) -> Report:
    """Windows stand for examples: those of one stream are not independent, but nearly so."""
    found = np.array(list(window_losses(model, stream)))
    counts = np.zeros(len(learned))
    for batch in Windows(stream).batches():
        counts += np.bincount(batch.sequences[TARGETS].data.flatten(), minlength=len(counts))
    # A token that training never saw has the probability of one that it saw once.
    seen = np.maximum(learned, 1)
    unigram = float(-(counts * np.log(seen / seen.sum())).sum() / counts.sum())
    low, high = interval(found, _mean)
    value = float(_mean(found.sum(0)))
    unit = model.vocabulary.unit
    nats = (value, low, high, unigram)
    figures = (
        _figure(f"nats per {unit}", nats, unit),
        _figure("perplexity", [math.exp(min(v, _LARGEST)) for v in nats], unit),
    )
    return Report(on, figures, {}, {})


def _figure(name: str, values: Sequence[float], unit: str) -> Figure:
    value, low, high, baseline = values
    return Figure(name, value, low, high, baseline, f"{unit} frequencies", "lower")


def _mean(sums: Statistics) -> Statistics:
    return sums[..., 0] / sums[..., 1]


def _evaluate(model: LanguageModel, words: Sequence[str], data: TextConfig) -> Report:
    """On a text of its own; the baseline knows that text's frequencies, so that it is not weak."""
    with TemporaryDirectory() as directory:
        sources = find(words, data.pattern)
        bad = BadRows(data.skip_bad)
        file = encode_corpus(sources, model.vocabulary, directory, data.encoding, bad=bad)
        tokens = file.tokens[:]
        stream = held_stream(tokens, _ROWS, data.window)
        seen = frequencies(tokens, len(model.vocabulary))
        on = _predictions(stream, model.vocabulary.unit)
        return _report(model, stream, seen, on).saying(file.skipped)


@dataclass(frozen=True)
class Nothing:
    """How lines are scored: there is nothing to choose."""


def _predict(model: LanguageModel, lines: Iterable[str], _: Nothing) -> Iterator[dict[str, Any]]:
    for line, score in score_lines(model, lines):
        yield {"text": line, "log_probability": score.log_probability, "tokens": score.tokens}


def _draw(
    model: LanguageModel, prompt: str, length: int, temperature: float, seed: int
) -> Iterator[str]:
    return model.generate(prompt, length, temperature, seed=seed)


KIND = Kind(
    name="lm",
    summary="train a language model on text",
    reads="Text is files, directories, globs, - for standard input, or stdlib for the source code "
    "of Python's standard library. Gzip is read as it is.",
    example="book.txt --hidden-size 512 --epochs 20",
    model=LanguageModel,
    data=TextConfig,
    config=LanguageModelConfig,
    defaults={},
    prepare=_prepare,
    evaluate=_evaluate,
    prediction=Nothing,
    predict=_predict,
    draw=_draw,
)
