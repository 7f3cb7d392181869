"""Translation: a sequence to another of another length (many to many), by an encoder–decoder."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from unrolled.data.batch import Batch
from unrolled.data.examples import Bucketed
from unrolled.data.fingerprint import fingerprint
from unrolled.errors import DataError
from unrolled.models.beam import Beam
from unrolled.models.seq2seq import Seq2Seq
from unrolled.models.seq2seq_config import Seq2SeqConfig
from unrolled.models.translation import Translation, candidates, encode_source
from unrolled.tasks.diagonal import learn_diagonal
from unrolled.tasks.kind import Cache, Kind, Prepared
from unrolled.tasks.report import Report
from unrolled.tasks.translate_data import (
    SOURCE,
    TARGET,
    TranslateData,
    find_pairs,
    read_parts,
)
from unrolled.tasks.translate_report import TOKEN_ERRORS, report, validation
from unrolled.train.config import TrainConfig
from unrolled.train.task import Metric, State, Task

# Lines that are read before the first of them is answered.
_AHEAD = 1024


def loss(model: Seq2Seq, batch: Batch, _: State | None) -> tuple[Tensor, None]:
    """The cross-entropy of the targets and their ends, summed."""
    return model.loss(batch.sequences[SOURCE], batch.sequences[TARGET]), None


def count(batch: Batch) -> int:
    """The tokens of the targets, their ends included."""
    return batch.sequences[TARGET].steps() + batch.size


def prepare(
    named: Sequence[str],
    data: TranslateData,
    config: Seq2SeqConfig,
    settings: TrainConfig,
    cache: Cache,
) -> Prepared:
    """A run on pairs of texts; see ``Kind``."""
    parts = read_parts(named, data, config.max_length, settings.seed, cache.directory)
    torch.manual_seed(settings.seed)
    model = Seq2Seq(config, parts.source, parts.target)
    held = parts.validation
    task = Task(
        Bucketed(parts.training, settings.batch_size, SOURCE, settings.seed),
        loss,
        count,
        None if held is None else lambda model: validation(model, held),
        Metric() if held is None else Metric(TOKEN_ERRORS),
    )
    judged = parts.test or held
    baseline = {} if judged is None else learn_diagonal(parts.training)

    def judge(model: Seq2Seq) -> Report:
        assert judged is not None
        on = "held out for validation" if parts.test is None else "of the test part"
        found = report(model, judged, data.beam, baseline, on)
        return found.on_validation() if parts.test is None else found

    return Prepared(
        model,
        task,
        parts.facts,
        fingerprint(
            {
                "source vocabulary": parts.source,
                "target vocabulary": parts.target,
                "training part": parts.training,
                "validation part": held,
                "test part": parts.test,
            }
        ),
        None if judged is None else judge,
        "token",
        cache.files(),
    )


def evaluate(model: Seq2Seq, named: Sequence[str], data: TranslateData) -> Report:
    """On data of its own; the baseline knows this data, so that it is not weak.

    Tokens are those of the model, whatever ``data`` says of them.
    """
    kinds = model.source.kind, model.target.kind
    pairs = find_pairs(named, data, kinds, model.config.max_length)
    examples = pairs.encoded(model.source, model.target, None)
    on = f"in {pairs.rows.name}"
    found = report(model, examples, data.beam, learn_diagonal(examples), on)
    return found.saying(pairs.bad.facts())


@dataclass(frozen=True)
class Searching:
    """How translations are searched.

    Attributes:
        beam: The hypotheses of each line that are kept at a time; 1 is greedy search.
        n_best: How many translations of each line to give, at most as many as the beam is wide.
        length_penalty: The power of the length that a log-probability is divided by for its rank;
            0 ranks by probability, which favours the short.
        attention: Whether to say what each token, and the end, took from each token of the source.
        batch_size: How many lines are translated side by side.
    """

    beam: int = 1
    n_best: int = 1
    length_penalty: float = 1.0
    attention: bool = False
    batch_size: int = 64


def predict(model: Seq2Seq, lines: Iterable[str], how: Searching) -> Iterator[dict[str, Any]]:
    """For each line its translations, the best first, or why it can't be read."""
    beam = Beam(how.beam, how.n_best, model.config.max_length, how.length_penalty)
    waiting = iter(lines)
    while taken := list(islice(waiting, _AHEAD)):
        sources: list[Tensor] = []
        errors: list[str | None] = []
        for line in taken:
            try:
                sources.append(encode_source(model, line))
                errors.append(None)
            except DataError as error:
                errors.append(str(error))
        found = iter(candidates(model, sources, beam, how.batch_size, attention=how.attention))
        for line, error in zip(taken, errors, strict=True):
            if error is not None:
                yield {"source": line, "error": error}
            else:
                yield {"source": line, "translations": [_plain(t) for t in next(found)]}


def _plain(found: Translation) -> dict[str, Any]:
    values: dict[str, Any] = {
        "text": found.text,
        "score": found.score,
        "log_probability": found.log_probability,
    }
    return values if found.attention is None else values | {"attention": found.attention.tolist()}


KIND = Kind(
    name="translate",
    summary="train an encoder–decoder with attention on pairs of texts",
    reads="Pairs are a CSV, TSV, JSONL or Parquet file with a column for the source and one for "
    "the target, or two files whose lines belong together. A source may have several targets.",
    example="pairs.tsv --source-tokens char --target-tokens item --beam 5",
    model=Seq2Seq,
    data=TranslateData,
    config=Seq2SeqConfig,
    defaults={"batch_size": 64, "learning_rate": 3e-3, "warmup": 100},
    prepare=prepare,
    evaluate=evaluate,
    prediction=Searching,
    predict=predict,
    draw=None,
)
