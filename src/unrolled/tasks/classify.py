"""Classify: whole sequences to classes, from any labelled data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.bad_rows import BadRows
from unrolled.data.batch import Batch
from unrolled.data.examples import Bucketed, Examples
from unrolled.data.fingerprint import fingerprint
from unrolled.data.labels import Labels
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.models.classifier import Classifier, Example
from unrolled.models.classifier_config import ClassifierConfig
from unrolled.tasks.classify_data import (
    ClassifyData,
    Labelled,
    example_of,
    moments,
    vocabulary,
)
from unrolled.tasks.classify_report import figures, report, targets
from unrolled.tasks.kind import Cache, Kind, Prepared
from unrolled.tasks.parts import check_encoded, divide, held_parts
from unrolled.tasks.report import Report
from unrolled.tasks.words import counted
from unrolled.train.config import TrainConfig
from unrolled.train.task import Metric, State, Task

_AT_ONCE = 256


@dataclass(frozen=True)
class ClassifyPrediction:
    """What is said of each line.

    Attributes:
        top: How many classes, the likeliest first.

    Raises:
        DataError: where it is less than 1.
    """

    top: int = 1

    def __post_init__(self) -> None:
        if self.top < 1:
            raise DataError(f"top is at least 1, not {self.top}")


def prepare(
    words: Sequence[str],
    data: ClassifyData,
    config: ClassifierConfig,
    train: TrainConfig,
    cache: Cache,
) -> Prepared:
    """A run on labelled data.

    Raises:
        DataError: where the data can't be used.
        ModelError: where the model can't be built.
    """
    bad = BadRows(data.skip_bad)
    rows = Labelled.find(words, data, bad)
    named = rows.labels()
    classes = Labels.build(named)
    learn, validate, test = divide(len(named), data, train.seed, named)
    inputs = tuple(data.numbers) or vocabulary(rows, learn)
    torch.manual_seed(train.seed)
    model = Classifier(config, classes.names, inputs)

    examples = rows.examples(model, cache.directory)
    check_encoded(examples, len(named))
    learned = examples.part(learn)
    if data.numbers:
        model.standardise(*moments(learned))
    parts = held_parts(
        examples,
        {"validation": (validate, data.validation), "test": (test, data.test)},
        lambda own, name: Labelled.find([own], data, bad).examples(model, cache.directory / name),
    )
    shift = logit_adjustment(targets(learned), len(classes), data.adjustment)
    validation = parts["validation"]
    judged = parts["test"] or validation
    fresh = None if judged is None else _fresh(judged, learned)

    def judge(model: Classifier) -> Report:
        assert judged is not None
        found = report(model, judged, fresh)
        return found if judged is parts["test"] else found.on_validation()

    return Prepared(
        model=model,
        task=Task(
            training=Bucketed(learned, train.batch_size, "x", train.seed),
            loss=Loss(shift, data.label_smoothing),
            count=lambda batch: batch.size,
            validate=None if validation is None else lambda m: figures(m, validation),
            metric=Metric("loss") if validation is None else Metric("accuracy", "higher"),
        ),
        facts=(*_facts(learned, parts, classes, inputs, fresh), *bad.facts()),
        fingerprint=fingerprint(
            {
                "classes": classes,
                "columns" if data.numbers else "vocabulary": inputs,
                "training part": learned,
                "validation part": validation,
                "test part": parts["test"],
            }
        ),
        report=None if judged is None else judge,
        files=cache.files(),
    )


@dataclass(frozen=True, eq=False)
class Loss:
    """The cross-entropy summed over a batch, of each member alone; their mean.

    Attributes:
        shift: What is added to the logits of each class in training alone, float32 ``[K]``.
        smoothing: The share of the target that all classes have in common.
    """

    shift: Tensor
    smoothing: float

    def __call__(
        self, model: Classifier, batch: Batch, state: State | None = None
    ) -> tuple[Tensor, None]:
        """The loss; nothing is carried."""
        x = batch.sequences["x"]
        logits = model.member_logits(x.data, x.lengths).float()
        labels = batch.values["label"].repeat(len(logits))
        shifted = logits.flatten(0, 1) + self.shift.to(logits.device)
        total = F.cross_entropy(shifted, labels, reduction="sum", label_smoothing=self.smoothing)
        return total / len(logits), None


def logit_adjustment(labels: NDArray[np.int64], n_classes: int, adjustment: float) -> Tensor:
    """What is added to the logits in training, so that without it they favour rare classes.

    Their softmax then is the probability of each class as if the classes were as frequent as
    ``(1 - adjustment) * prior + adjustment / K``, and the likeliest class is the one that makes the
    most of ``(1 - adjustment) * accuracy + adjustment * macro recall`` (Menon et al., "Long-tail
    learning via logit adjustment", 2021, where 1 is their loss with tau = 1).

    Args:
        labels: The class of each example ``[n]``.
        n_classes: K.
        adjustment: From 0 to 1.

    Returns:
        ``log(prior / wanted)``, float32 ``[K]``; a class without an example counts as if it had
        one.
    """
    counts = np.maximum(np.bincount(labels, minlength=n_classes), 1)
    prior = counts / counts.sum()
    wanted = (1 - adjustment) * prior + adjustment / n_classes
    return torch.from_numpy(np.log(prior / wanted)).float()


def evaluate(model: Classifier, words: Sequence[str], data: ClassifyData) -> Report:
    """The report of a model on labelled data.

    Raises:
        DataError: where the data can't be used, or has a class that the model does not know.
    """
    bad = BadRows(data.skip_bad)
    examples = Labelled.find(words, _as_learned(model, data), bad).examples(model, None)
    return report(model, examples).saying(bad.facts())


def predict(
    model: Classifier, lines: Iterable[str], prediction: ClassifyPrediction
) -> Iterator[dict[str, Any]]:
    """``{"label": …, "classes": {name: probability}}`` for each line, in order."""
    top = min(prediction.top, len(model.classes))
    remaining = iter(lines)
    while chunk := list(islice(remaining, _AT_ONCE)):
        read = [_read(line, model) for line in chunk]
        probabilities = iter(model.probabilities([e for e in read if not isinstance(e, DataError)]))
        for example in read:
            if isinstance(example, DataError):
                yield {"error": str(example)}
                continue
            values, places = next(probabilities).topk(top)
            best = [model.classes.names[i] for i in places.tolist()]
            yield {"label": best[0], "classes": dict(zip(best, values.tolist(), strict=True))}


def _read(line: str, model: Classifier) -> Example | DataError:
    try:
        example = example_of(line, model)
        model.encode(example)
    except DataError as error:
        return error
    return example


def _as_learned(model: Classifier, data: ClassifyData) -> ClassifyData:
    """The options of an evaluation, with the columns of values that the model reads."""
    columns = () if isinstance(model.inputs, Vocabulary) else model.inputs
    if data.numbers and tuple(data.numbers) != columns:
        reads = f"the columns {', '.join(columns)}" if columns else "text"
        raise DataError(
            f"the model reads {reads}, not {', '.join(data.numbers)}: leave --numbers out"
        )
    return replace(data, numbers=columns)


def _fresh(judged: Examples, learned: Examples) -> NDArray[np.bool_]:
    """Which examples training does not also have, whatever their labels: bool ``[n]``."""
    ours, theirs = (
        np.fromiter((hash(e.sequences["x"][i].tobytes()) for i in e.indices.tolist()), np.int64)
        for e in (judged, learned)
    )
    return ~np.isin(ours, theirs)


def _facts(
    learned: Examples,
    parts: dict[str, Examples | None],
    classes: Labels,
    inputs: Vocabulary | tuple[str, ...],
    fresh: NDArray[np.bool_] | None,
) -> tuple[str, ...]:
    held = [f"{len(part):,} for {name}" for name, part in parts.items() if part is not None]
    counts = np.bincount(targets(learned), minlength=len(classes))
    least, *_, most = np.argsort(counts, kind="stable").tolist()
    fewest = counted(int(counts[least]), "example")
    what = (
        counted(len(inputs), f"different {inputs.kind}")
        if isinstance(inputs, Vocabulary)
        else f"numbers: {', '.join(inputs)}"
    )
    facts = [
        ", ".join([f"examples: {len(learned):,} to learn from", *held]),
        f"classes: {len(classes)}, from {fewest} ({classes.names[least]}) to {counts[most]:,} "
        f"({classes.names[most]})",
        what,
    ]
    if fresh is not None and not fresh.all():
        n = int((~fresh).sum())
        facts.append(
            f"{n:,} of the {counted(len(fresh), 'example')} that the report is made on also "
            f"{'occurs' if n == 1 else 'occur'} among those to learn from"
        )
    return tuple(facts)


KIND = Kind(
    name="classify",
    summary="a class for each sequence: text by characters, bytes or words, or real values",
    reads="Examples are a folder of a file for each class with an example a line, a folder of "
    "folders with a file an example, or CSV, TSV, JSON lines or Parquet files with columns text "
    "and label.",
    example="names --tokens char",
    model=Classifier,
    data=ClassifyData,
    config=ClassifierConfig,
    defaults={"epochs": 10, "batch_size": 64, "learning_rate": 2e-3, "evaluate_every": 200},
    prepare=prepare,
    evaluate=evaluate,
    prediction=ClassifyPrediction,
    predict=predict,
)
