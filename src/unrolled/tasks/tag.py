"""Tag: a tag for each word of a sentence, from CoNLL columns or any rows of lists."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.bad_rows import BadRows
from unrolled.data.batch import Batch
from unrolled.data.examples import Bucketed, Examples
from unrolled.data.fingerprint import fingerprint
from unrolled.errors import DataError
from unrolled.models.tagger import Tagger
from unrolled.models.tagger_inputs import TaggerConfig, TaggerInputs
from unrolled.tasks.kind import Cache, Kind, Prepared
from unrolled.tasks.parts import check_encoded, divide, held_parts
from unrolled.tasks.report import Report
from unrolled.tasks.tag_data import Column, TagData, Tagged, sentence_of, tag_names, usual_tags
from unrolled.tasks.tag_report import figures, gold, report
from unrolled.tasks.words import counted
from unrolled.train.config import TrainConfig
from unrolled.train.task import Metric, State, Task

_AT_ONCE = 128


@dataclass(frozen=True)
class TagPrediction:
    """Tags are predicted in one way."""


def prepare(
    words: Sequence[str], data: TagData, config: TaggerConfig, train: TrainConfig, cache: Cache
) -> Prepared:
    """A run on tagged sentences.

    Raises:
        DataError: where the data can't be used.
        ModelError: where the model can't be built.
    """
    bad = BadRows(data.skip_bad)
    tagged = Tagged.find(words, data, bad)
    n, found = 0, set[str]()
    for sentence in tagged.sentences():
        n += 1
        found.update(sentence[data.tags])
    tags = tag_names(found)
    learn, validate, test = divide(n, data, train.seed)
    chosen = np.zeros(n, np.bool_)
    chosen[learn] = True
    inputs = TaggerInputs.build(
        config,
        Column(tagged, data.words, chosen),
        {name: Column(tagged, name, chosen) for name in data.columns},
        data.min_count,
    )
    torch.manual_seed(train.seed)
    model = Tagger(config, tags.names, inputs)

    examples = tagged.examples(model, cache.directory)
    check_encoded(examples, n)
    learned = examples.part(learn)
    known = (examples.sequences["words"][row] for row in learned.indices.tolist())
    model.usual = tuple(
        usual_tags(zip(known, gold(learned), strict=True), len(inputs.words), len(tags))
    )
    parts = held_parts(
        examples,
        {"validation": (validate, data.validation), "test": (test, data.test)},
        lambda own, name: Tagged.find([own], data, bad).examples(model, cache.directory / name),
    )
    validation = parts["validation"]
    judged = parts["test"] or validation

    def judge(model: Tagger) -> Report:
        assert judged is not None
        found = report(model, judged)
        return found if judged is parts["test"] else found.on_validation()

    return Prepared(
        model=model,
        task=Task(
            training=Bucketed(learned, train.batch_size, "words", train.seed),
            loss=loss,
            count=lambda batch: batch.sequences["words"].steps(),
            validate=None if validation is None else lambda m: figures(m, validation),
            metric=_metric(model, validation),
        ),
        facts=(*_facts(model, learned, parts), *bad.facts()),
        fingerprint=fingerprint(
            {
                "tags": tags,
                "words": inputs,
                "training part": learned,
                "validation part": validation,
                "test part": parts["test"],
            }
        ),
        report=None if judged is None else judge,
        files=cache.files(),
    )


def loss(model: Tagger, batch: Batch, state: State | None = None) -> tuple[Tensor, None]:
    """The cross-entropy summed over all words; nothing is carried."""
    words = batch.sequences["words"]
    given = model.arguments({name: s.data for name, s in batch.sequences.items()})
    logits = model(lengths=words.lengths, **given)
    present = words.present()
    right = batch.sequences["tags"].data[present]
    return F.cross_entropy(logits[present].float(), right, reduction="sum"), None


def evaluate(model: Tagger, words: Sequence[str], data: TagData) -> Report:
    """The report of a model on tagged sentences.

    Raises:
        DataError: where the data can't be used, or has a tag that the model does not know.
    """
    columns = tuple(model.inputs.columns)
    if data.columns and tuple(data.columns) != columns:
        reads = f"the columns {', '.join(columns)}" if columns else "no further columns"
        raise DataError(
            f"the model reads {reads}, not {', '.join(data.columns)}: leave --columns out"
        )
    bad = BadRows(data.skip_bad)
    tagged = Tagged.find(words, replace(data, columns=columns), bad)
    return report(model, tagged.examples(model, None)).saying(bad.facts())


def predict(
    model: Tagger, lines: Iterable[str], prediction: TagPrediction
) -> Iterator[dict[str, Any]]:
    """``{"words": […], "tags": […]}`` for each line, in order."""
    del prediction
    remaining = iter(lines)
    while chunk := list(islice(remaining, _AT_ONCE)):
        read = [_read(line, model) for line in chunk]
        good = [sentence for sentence in read if not isinstance(sentence, DataError)]
        columns = {name: [beside[name] for _, beside in good] for name in model.inputs.columns}
        tags = iter(model.predict([of for of, _ in good], columns))
        for sentence in read:
            if isinstance(sentence, DataError):
                yield {"error": str(sentence)}
            else:
                yield {"words": sentence[0], "tags": next(tags)}


def _read(line: str, model: Tagger) -> tuple[list[str], dict[str, list[str]]] | DataError:
    try:
        words, columns = sentence_of(line, model)
        model.encode(words, columns)
    except DataError as error:
        return error
    return words, columns


def _metric(model: Tagger, validation: Examples | None) -> Metric:
    if validation is None:
        return Metric("loss")
    return Metric("f1" if model.chunks else "accuracy", "higher")


def _facts(model: Tagger, learned: Examples, parts: dict[str, Examples | None]) -> tuple[str, ...]:
    held = [f"{len(part):,} for {name}" for name, part in parts.items() if part is not None]
    beside = [
        f"{counted(len(values), 'value')} of {name}"
        for name, values in model.inputs.columns.items()
    ]
    known = ", ".join([counted(len(model.inputs.words), "different word"), *beside])
    chunks = ", which mark chunks" if model.chunks else ""
    return (
        ", ".join([f"sentences: {len(learned):,} to learn from", *held]),
        f"{known}; {len(model.tags)} tags{chunks}",
    )


KIND = Kind(
    name="tag",
    summary="a tag for each word of a sentence: parts of speech, chunks, names",
    reads="Sentences are CoNLL files: a word a line, its columns between spaces, and a blank line "
    "behind each sentence.",
    example="train.txt --names word,pos,chunk --words word --tags pos",
    model=Tagger,
    data=TagData,
    config=TaggerConfig,
    defaults={"epochs": 5, "batch_size": 32, "learning_rate": 5e-3, "evaluate_every": 250},
    prepare=prepare,
    evaluate=evaluate,
    prediction=TagPrediction,
    predict=predict,
)
