"""How a generator is judged: the likelihood of held-out sequences, beside that of simple models.

For frames the negative log-likelihood is that of Bai, Kolter and Koltun ("An empirical evaluation
of generic convolutional and recurrent networks for sequence modeling", 2018): each frame but a
sequence's first is predicted from those before it, its loss is the sum over the keys, in nats, and
the mean is over all such frames of all sequences together.

Frame accuracy is TP / (TP + FP + FN) over the same frames (Bay, Ehmann, Downie, "Evaluation of
multiple-F0 estimation and tracking systems", 2009), a key being predicted where its probability is
at least a threshold: the one that is best if the probabilities are right, which the probabilities
alone tell. It is far below one half where keys are uncertain (Lipton, Elkan, Naryanaswamy, "Optimal
thresholding of classifiers to maximize F1 measure", 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from unrolled.data.examples import Examples
from unrolled.models.generator import Generator
from unrolled.tasks.bootstrap import Statistics, interval
from unrolled.tasks.generate_data import LABEL
from unrolled.tasks.generate_statistics import (
    BINS,
    CHANCE,
    FIRST,
    HIT,
    KEYS,
    LOSS,
    MISS,
    OFTEN,
    ON,
    REPEAT,
    STEPS,
    Values,
    statistics,
)
from unrolled.tasks.report import Figure, Report

# Of more labels only the table says how each does.
_FEW_LABELS = 8


def _ratio(place: int) -> Callable[[Statistics], Statistics]:
    return lambda sums: _divided(sums[..., place], sums[..., STEPS])


def _accuracy(threshold: int) -> Callable[[Statistics], Statistics]:
    """That of the model, for keys from this bin on."""

    def accuracy(sums: Statistics) -> Statistics:
        hits = sums[..., ON][..., threshold:].sum(-1)
        either = sums[..., KEYS][..., threshold:].sum(-1) + sums[..., ON][..., :threshold].sum(-1)
        return _divided(hits, either)

    return accuracy


def best_threshold(sums: Values) -> int:
    """The bin from which on keys are predicted for the highest accuracy to be expected.

    The keys that are on are not looked at, only the sums of probabilities.
    """
    expected = sums.copy()
    expected[ON] = sums[CHANCE]
    values = [float(np.nan_to_num(_accuracy(k)(expected))) for k in range(1, BINS)]
    # Of those that are equal but for rounding the highest.
    return max(range(1, BINS), key=lambda k: (round(values[k - 1], 9), k))


def _divided(part: Statistics, whole: Statistics) -> Statistics:
    """The quotient, not a number where there is nothing."""
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


@dataclass(frozen=True)
class _Words:
    step: str
    steps: str
    often: str


_TOKENS = _Words("token", "tokens, their ends included", "unigram of each label")
_FRAMES = _Words("frame", "frames after the first of each", "each key's frequency for its label")


def validation(model: Generator, examples: Examples, batch_size: int) -> dict[str, float]:
    """The loss that training lowers, first frames included, and what reports name."""
    sums = statistics(model, examples, batch_size).sum(0)
    if model.vocabulary is not None:
        return {"loss": _value(_ratio(LOSS), sums)}
    all_frames = sums[STEPS] + len(examples)
    return {
        "loss": float(sums[LOSS] + sums[FIRST]) / float(all_frames),
        "nll": _value(_ratio(LOSS), sums),
        "accuracy": _value(_accuracy(best_threshold(sums)), sums),
    }


def report(model: Generator, examples: Examples, on: str, batch_size: int) -> Report:
    """How likely the model finds sequences.

    Args:
        model: The generator; baselines need its ``background``.
        examples: The sequences.
        on: What they are, such as "held-out".
        batch_size: How many are judged at once.
    """
    found = statistics(model, examples, batch_size)
    frames = model.vocabulary is None
    words = _FRAMES if frames else _TOKENS
    baselines = model.background is not None
    likelihood = _likelihood(found, words, "", frames=frames, baselines=baselines)
    figures = [likelihood, _frame_accuracy(found)] if frames else [likelihood]
    sums = found.sum(0)
    labels = examples.values[LABEL][examples.indices]
    tables: dict[str, str] = {}
    if len(model.labels) > 1:
        each = {
            label: _likelihood(own, words, f", {label}", frames=frames, baselines=baselines)
            for place, label in enumerate(model.labels)
            if len(own := found[labels == place])
        }
        counts = np.bincount(labels, minlength=len(model.labels)).tolist()
        tables["by label"] = _by_label(dict(zip(model.labels, counts, strict=True)), each, words)
        if len(model.labels) <= _FEW_LABELS:
            figures += each.values()
    details: dict[str, object] = {"steps": int(sums[STEPS])}
    if model.background is not None:
        details[words.often] = _value(_ratio(OFTEN), sums)
    if frames:
        if model.background is not None:
            details["repeat last frame"] = _value(_ratio(REPEAT), sums)
        details["threshold"] = best_threshold(sums) / BINS
        details["frame accuracy at one half"] = _value(_accuracy(BINS // 2), sums)
        # The other averages that are in use, for whoever compares with another paper.
        with_first = (sums[LOSS] + sums[FIRST]) / (sums[STEPS] + len(found))
        several = found[found[:, STEPS] > 0]
        details["with first frames"] = float(with_first)
        details["mean of sequences"] = float((several[:, LOSS] / several[:, STEPS]).mean())
    n = int(sums[STEPS])
    return Report(
        f"{len(found):,} {on} sequences: {n:,} {words.steps}", tuple(figures), tables, details
    )


def _likelihood(
    found: Statistics, words: _Words, of: str, *, frames: bool, baselines: bool
) -> Figure:
    """The figure, beside the better of the baselines; ``of`` ends its name."""
    sums = found.sum(0)
    simple = [(words.often, _value(_ratio(OFTEN), sums))]
    if frames:
        simple.append(("last frame again, with its chance", _value(_ratio(REPEAT), sums)))
    name, best = min(simple, key=lambda item: item[1])
    return Figure(
        f"negative log-likelihood per {words.step}{of}",
        _value(_ratio(LOSS), sums),
        *interval(found, _ratio(LOSS)),
        best if baselines else None,
        name if baselines else "",
        "lower",
        "nats",
    )


def _frame_accuracy(found: Statistics) -> Figure:
    sums = found.sum(0)
    accuracy = _accuracy(best_threshold(sums))
    return Figure(
        "frame accuracy",
        _value(accuracy, sums),
        *interval(found, accuracy),
        float(_divided(sums[HIT], sums[HIT : MISS + 1].sum())),
        "last frame again",
        "higher",
        "%",
    )


def _value(figure: Callable[[Statistics], Statistics], sums: Values) -> float:
    return float(figure(sums))


def _by_label(counts: Mapping[str, int], figures: Mapping[str, Figure], words: _Words) -> str:
    """A line a label: its sequences, the figure with its interval, and the baseline."""
    width, unit = max(len("label"), *map(len, counts)), f"nats per {words.step}"
    lines = [f"{'label':{width}}  sequences  {unit}  {'95 % interval':16}  baseline"]
    for label, n in counts.items():
        line = f"{label:{width}}  {n:9,}"
        if label in figures:
            one = figures[label]
            between = f"{one.low:.3f} to {one.high:.3f}"
            line += f"  {one.value:{len(unit)}.3f}  {between:16}"
            if one.baseline is not None:
                line += f"  {one.baseline:8.3f}"
        lines.append(line.rstrip())
    return "\n".join(lines)
