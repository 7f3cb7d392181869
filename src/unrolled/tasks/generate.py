"""One to many: from a label to a sequence of tokens or of a piano roll's frames."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.bad_rows import BadRows
from unrolled.data.batch import Batch
from unrolled.data.cuts import BEFORE, cut
from unrolled.data.examples import Bucketed, Examples
from unrolled.data.fingerprint import fingerprint
from unrolled.errors import UserError
from unrolled.models.generator import Generator
from unrolled.models.generator_config import GeneratorConfig
from unrolled.tasks.generate_data import (
    LABEL,
    SEQUENCE,
    Encoding,
    GenerateData,
    Parts,
    read_part,
    read_parts,
)
from unrolled.tasks.generate_report import report, validation
from unrolled.tasks.generate_statistics import count
from unrolled.tasks.kind import Cache, Kind, Prepared
from unrolled.tasks.report import Report
from unrolled.train.config import TrainConfig
from unrolled.train.task import State, Task

_BATCH = 32


@dataclass(frozen=True)
class GeneratePrediction:
    """How sequences are drawn, one for each line.

    A line is a label; behind a tab there may be a text that the sequence starts with. Rolls are
    given as the keys that are on in each frame.

    Attributes:
        length: Draw so many steps; a text may end before.
        temperature: Below 1 the likely gets likelier; 0 takes the likeliest.
        top_k: Draw from the so many likeliest tokens only.
        top_p: Draw from the likeliest tokens only that together have this probability.
        seed: Where the draws of the first line start; each line has a seed of its own.
    """

    length: int = 200
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0
    seed: int = 0


def loss(model: Generator, batch: Batch, state: State | None) -> tuple[Tensor, None]:
    """The summed negative log-likelihood of a batch's steps; nothing is carried on."""
    del state
    sequence, before = batch.sequences[SEQUENCE], batch.values.get(BEFORE)
    losses, _ = model.losses(sequence.data, batch.values[LABEL], sequence.lengths, before)
    return losses.sum(), None


def prepare(
    words: Sequence[str],
    data: GenerateData,
    config: GeneratorConfig,
    train: TrainConfig,
    cache: Cache,
) -> Prepared:
    """A run that learns to generate sequences like those of the data.

    Raises:
        DataError: where the data can't be used.
        ModelError: where the model can't be built.
    """
    bad = BadRows(data.skip_bad)
    parts = read_parts(words, data, train.seed, cache.directory, bad)
    encoding = parts.encoding
    frames = encoding.vocabulary is None
    size = encoding.keys if encoding.vocabulary is None else len(encoding.vocabulary)
    background = count(parts.train, len(encoding.labels), size, frames=frames)
    steps = encoding.vocabulary or encoding.keys
    torch.manual_seed(train.seed)
    model = Generator(config, encoding.labels, steps, background)
    valid, held = parts.valid, parts.test or parts.valid
    learned = parts.train
    if data.window is not None:
        learned = cut(learned, SEQUENCE, data.window, model.start).examples
    task = Task(
        training=Bucketed(learned, train.batch_size, SEQUENCE, train.seed),
        loss=loss,
        count=lambda batch: batch.sequences[SEQUENCE].steps(),
        validate=None if valid is None else lambda m: validation(m, valid, _BATCH),
    )
    on = "test" if parts.test is not None else "validation"
    return Prepared(
        model,
        task,
        (*_facts(parts, len(learned), bad),),
        fingerprint(
            {
                "labels": encoding.labels,
                "vocabulary": encoding.vocabulary,
                "keys": encoding.keys,
                "training part": learned,
                "validation part": valid,
                "test part": parts.test,
            }
        ),
        None if held is None else lambda m: report(m, held, on, _BATCH),
        "frame" if encoding.vocabulary is None else encoding.vocabulary.unit,
        cache.files(),
    )


def evaluate(model: Generator, words: Sequence[str], data: GenerateData) -> Report:
    """How likely the model finds the sequences of the data: of its test part, where it has one.

    Raises:
        DataError: where the data can't be used.
    """
    bad = BadRows(data.skip_bad)
    keys = model.size if model.vocabulary is None else 0
    encoding = Encoding(model.labels, model.vocabulary, keys, data.max_length)
    examples = read_part(words, data, encoding, "test", None, bad)
    return report(model, examples, "given", _BATCH).saying(bad.facts())


def predict(
    model: Generator, lines: Iterable[str], prediction: GeneratePrediction
) -> Iterator[dict[str, Any]]:
    """A sequence for each line's label."""
    for number, line in enumerate(lines):
        label, tab, start = line.partition("\t")
        try:
            drawn = model.generate(
                label.strip(),
                start if tab else None,
                prediction.length,
                prediction.temperature,
                prediction.top_k,
                prediction.top_p,
                prediction.seed + number,
            )
        except UserError as error:
            yield {"error": str(error)}
        else:
            yield {"label": label.strip(), **_plain(drawn)}


def _plain(drawn: str | NDArray[np.uint8]) -> dict[str, Any]:
    if isinstance(drawn, str):
        return {"text": drawn}
    return {"keys": [np.flatnonzero(frame).tolist() for frame in drawn]}


def _facts(parts: Parts, learned: int, bad: BadRows) -> Iterator[str]:
    """Lines that say what the data is; ``learned`` is how many sequences training is given."""
    encoding = parts.encoding
    named: Mapping[str, Examples | None] = {
        "training": parts.train,
        "validation": parts.valid,
        "test": parts.test,
    }
    for name, examples in named.items():
        if examples is not None:
            steps = int(examples.lengths(SEQUENCE).sum())
            cut_up = name == "training" and learned > len(examples)
            pieces = f", learned in {learned:,} parts" if cut_up else ""
            yield f"{name}: {len(examples):,} sequences, {steps:,} steps{pieces}"
    n = len(encoding.labels)
    more = f" and {n - 8:,} more" if n > 8 else ""
    yield f"labels: {', '.join(encoding.labels[:8])}{more}"
    if encoding.vocabulary is None:
        yield f"steps: frames of {encoding.keys} keys"
    else:
        yield f"steps: {len(encoding.vocabulary):,} tokens ({encoding.vocabulary.kind})"
    yield from bad.facts()


KIND = Kind(
    name="generate",
    summary="from a label to a sequence: a text, or a piano roll",
    reads="Examples are a folder of a file for each label with an example a line, CSV, TSV, JSON "
    "lines or Parquet files with columns text and label, or piano rolls (.mat, .npz, .npy, MIDI).",
    example="names",
    model=Generator,
    data=GenerateData,
    config=GeneratorConfig,
    defaults={
        "epochs": 30,
        "batch_size": 16,
        "learning_rate": 3e-3,
        "weight_decay": 0.0,
        "evaluate_every": 100,
    },
    prepare=prepare,
    evaluate=evaluate,
    prediction=GeneratePrediction,
    predict=predict,
)
