"""How a classifier does: accuracy, macro recall, each class, and who is taken for whom.

Macro recall, the mean of the classes' recalls, counts each class the same however rare it is;
guessing, or always saying one class, reaches 1 / K.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.examples import Bucketed, Examples
from unrolled.models.classifier import Classifier
from unrolled.models.modes import evaluating
from unrolled.tasks.bootstrap import Statistics, interval
from unrolled.tasks.confusion import Confusion
from unrolled.tasks.report import Figure, Report
from unrolled.tasks.text_plots import by_class
from unrolled.tasks.words import counted

_AT_ONCE = 256


def log_probabilities(model: Classifier, examples: Examples) -> NDArray[np.float64]:
    """Of each class for each example: ``[n, K]``."""
    found = np.zeros((len(examples), len(model.classes)))
    with evaluating(model), torch.no_grad():
        for places in Bucketed(examples, _AT_ONCE, "x", None).order():
            x = examples.batch(places).to(model.device).sequences["x"]
            found[places] = model(x.data, x.lengths).double().log_softmax(1).cpu().numpy()
    return found


def targets(examples: Examples) -> NDArray[np.int64]:
    """The class of each example: ``[n]``."""
    return np.asarray(examples.values["label"])[examples.indices]


def figures(model: Classifier, examples: Examples) -> dict[str, float]:
    """Validation's figures: loss in nats an example, accuracy, macro recall."""
    scores, labels = log_probabilities(model, examples), targets(examples)
    statistics = _statistics(scores.argmax(1), labels, len(model.classes))
    return {
        "loss": float(-scores[np.arange(len(labels)), labels].mean()),
        "accuracy": float(_accuracy(statistics.sum(0))),
        "macro_recall": float(_macro_recall(statistics.sum(0))),
    }


def report(model: Classifier, examples: Examples, fresh: NDArray[np.bool_] | None = None) -> Report:
    """The report of a model on examples.

    Args:
        model: The classifier.
        examples: The examples.
        fresh: Which of them training does not also have, where that is known.
    """
    names, k = model.classes.names, len(model.classes)
    labels = targets(examples)
    said = log_probabilities(model, examples).argmax(1)
    counts = np.zeros((k, k), np.int64)
    np.add.at(counts, (labels, said), 1)
    confusion = Confusion(names, counts)
    statistics = _statistics(said, labels, k)
    majority = int(counts.sum(1).argmax())
    always = _statistics(np.full_like(labels, majority), labels, k)
    name = f"always {names[majority]}"
    shown = [
        _figure("accuracy", statistics, _accuracy, always, name),
        _figure("macro recall", statistics, _macro_recall, always, name),
    ]
    if fresh is not None and fresh.any() and not fresh.all():
        label = "accuracy where training has no such example"
        shown.append(_figure(label, statistics[fresh], _accuracy, always[fresh], name))
    return Report(
        counted(len(examples), "example"),
        tuple(shown),
        {"by class": by_class(confusion)},
        {"confusion": confusion.to_details()},
    )


def _figure(
    name: str,
    statistics: Statistics,
    figure: Callable[[Statistics], Statistics],
    always: Statistics,
    what: str,
) -> Figure:
    low, high = interval(statistics, figure)
    value, baseline = float(figure(statistics.sum(0))), float(figure(always.sum(0)))
    return Figure(name, value, low, high, baseline, what, "higher", "%")


def _statistics(said: NDArray[np.int64], labels: NDArray[np.int64], k: int) -> Statistics:
    """What each example adds: whether its class is right, by class, and the class: ``[n, 2 K]``."""
    rows = np.arange(len(labels))
    out = np.zeros((len(labels), 2 * k))
    out[rows, labels] = said == labels
    out[rows, k + labels] = 1
    return out


def _accuracy(sums: Statistics) -> Statistics:
    right, there = np.split(sums, 2, axis=-1)
    return right.sum(-1) / there.sum(-1)


def _macro_recall(sums: Statistics) -> Statistics:
    """The mean over the classes that there are."""
    right, there = np.split(sums, 2, axis=-1)
    return (right / np.maximum(there, 1)).sum(-1) / (there > 0).sum(-1)
