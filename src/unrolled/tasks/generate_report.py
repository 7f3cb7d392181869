"""How a generator is judged: the likelihood of held-out sequences, beside that of simple models.

For frames the negative log-likelihood is that of Bai, Kolter and Koltun ("An empirical evaluation
of generic convolutional and recurrent networks for sequence modeling", 2018): each frame but a
sequence's first is predicted from those before it, its loss is the sum over the keys, in nats, and
the mean is over all such frames of all sequences together. Frame accuracy is TP / (TP + FP + FN)
over the same frames, a key being predicted where its probability is above one half (Bay, Ehmann,
Downie, "Evaluation of multiple-F0 estimation and tracking systems", 2009).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.batch import Batch
from unrolled.data.examples import Bucketed, Examples
from unrolled.models.background import Background
from unrolled.models.generator import Generator
from unrolled.models.modes import evaluating
from unrolled.tasks.bootstrap import Statistics, interval
from unrolled.tasks.generate_data import LABEL, SEQUENCE
from unrolled.tasks.report import Figure, Report

Values = NDArray[np.float64]

# What each sequence adds: its steps that are judged, their losses by the model and by the two
# simplest models, and hits, false alarms and misses of keys by the model and by the frame before;
# then the loss of a first frame, which isn't judged.
_STEPS, _LOSS, _OFTEN, _REPEAT, _HIT, _FALSE, _MISS, _HIT0, _FALSE0, _MISS0, _FIRST = range(11)


def count(examples: Examples, labels: int, size: int, *, frames: bool) -> Background:
    """How often each symbol occurs for each label."""
    steps = np.zeros(labels, np.int64)
    symbols = np.zeros((labels, size), np.int64)
    pairs = np.zeros((labels, 2, 2), np.int64)
    column = examples.sequences[SEQUENCE]
    for row, label in zip(examples.indices, examples.values[LABEL][examples.indices], strict=True):
        sequence = column[int(row)]
        steps[label] += len(sequence)
        if not frames:
            symbols[label] += np.bincount(sequence, minlength=size)
            continue
        on = sequence.astype(np.bool_)
        symbols[label] += on.sum(0)
        for before in (0, 1):
            for after in (0, 1):
                pairs[label, before, after] += int(((on[:-1] == before) & (on[1:] == after)).sum())
    return Background(steps, symbols, pairs)


@torch.no_grad()
def statistics(model: Generator, examples: Examples, batch_size: int) -> Statistics:
    """What each sequence adds to the sums, in the examples' order: float64 ``[n, 11]``."""
    batches = Bucketed(examples, batch_size, SEQUENCE, None)
    found = np.zeros((len(examples), 11))
    with evaluating(model):
        for places in batches.order():
            found[places] = _of_batch(model, examples.batch(places))
    return found


def _of_batch(model: Generator, batch: Batch) -> Values:
    sequence, labels = batch.sequences[SEQUENCE], batch.values[LABEL]
    losses, logits = model.losses(
        sequence.data.to(model.device), labels.to(model.device), sequence.lengths
    )
    frames = model.vocabulary is None
    judged = sequence.present().numpy()
    if frames:
        judged[0] = False
    wide = losses.double().cpu().numpy()
    out = np.zeros((batch.size, 11))
    out[:, _STEPS] = judged.sum(0)
    out[:, _LOSS] = (wide * judged).sum(0)
    if frames:
        out[:, _FIRST] = wide[0]
        target = sequence.data.numpy().astype(np.bool_)
        predicted = (logits > 0).cpu().numpy()
        before = np.concatenate([np.zeros_like(target[:1]), target[:-1]])
        for guess, place in ((predicted, _HIT), (before, _HIT0)):
            for i, kind in enumerate((guess & target, guess & ~target, ~guess & target)):
                out[:, place + i] = (kind.sum(-1) * judged).sum(0)
    if model.background is not None:
        of_labels = labels.numpy()
        for place, losses_of in ((_OFTEN, often), (_REPEAT, repeat)):
            simple = losses_of(model.background, sequence.data.numpy(), of_labels, frames)
            out[:, place] = (simple * judged).sum(0)
    return out


def often(
    background: Background, sequence: NDArray[np.int64], labels: NDArray[np.int64], frames: bool
) -> Values:
    """Losses ``[T, B]`` by how often each token or key occurs for a label, in training.

    Counts begin at one for tokens (Laplace) and at one half for keys (Jeffreys), so that nothing is
    impossible.
    """
    steps, symbols = background.steps[labels], background.symbols[labels]
    if not frames:
        chances = np.log((symbols + 1) / (steps[:, None] + symbols.shape[1]))
        return -chances[np.arange(len(labels)), sequence]
    on = (symbols + 0.5) / (steps[:, None] + 1)
    return -np.where(sequence == 1, np.log(on), np.log1p(-on)).sum(-1)


def repeat(
    background: Background, sequence: NDArray[np.int64], labels: NDArray[np.int64], frames: bool
) -> Values:
    """Losses ``[T, B]`` by how often a key stays as it was for a label; zeros for tokens."""
    if not frames:
        return np.zeros(sequence.shape)
    pairs = background.pairs[labels] + 0.5
    logs = np.log(pairs / pairs.sum(-1, keepdims=True))
    before = np.concatenate([np.zeros_like(sequence[:1]), sequence[:-1]])
    places = np.arange(len(labels))[:, None]
    return -logs[places, before, sequence].sum(-1)


def _ratio(place: int) -> Callable[[Statistics], Statistics]:
    return lambda sums: _divided(sums[..., place], sums[..., _STEPS])


def _accuracy(place: int) -> Callable[[Statistics], Statistics]:
    return lambda sums: _divided(sums[..., place], sums[..., place : place + 3].sum(-1))


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
        return {"loss": _value(_ratio(_LOSS), sums)}
    all_frames = sums[_STEPS] + len(examples)
    return {
        "loss": float(sums[_LOSS] + sums[_FIRST]) / float(all_frames),
        "nll": _value(_ratio(_LOSS), sums),
        "accuracy": _value(_accuracy(_HIT), sums),
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
    figures = _figures(found, words, frames=frames, baselines=model.background is not None)
    sums = found.sum(0)
    labels = examples.values[LABEL][examples.indices]
    tables: dict[str, str] = {}
    if len(model.labels) > 1:
        tables["by label"] = _by_label(model, found, labels, words)
    details: dict[str, object] = {"steps": int(sums[_STEPS])}
    if model.background is not None:
        details[words.often] = _value(_ratio(_OFTEN), sums)
    if frames:
        if model.background is not None:
            details["repeat last frame"] = _value(_ratio(_REPEAT), sums)
        # The other averages that are in use, for whoever compares with another paper.
        with_first = (sums[_LOSS] + sums[_FIRST]) / (sums[_STEPS] + len(found))
        several = found[found[:, _STEPS] > 0]
        details["with first frames"] = float(with_first)
        details["mean of sequences"] = float((several[:, _LOSS] / several[:, _STEPS]).mean())
    n = int(sums[_STEPS])
    return Report(f"{len(found):,} {on} sequences: {n:,} {words.steps}", figures, tables, details)


def _figures(
    found: Statistics, words: _Words, *, frames: bool, baselines: bool
) -> tuple[Figure, ...]:
    sums = found.sum(0)
    simple = [(words.often, _value(_ratio(_OFTEN), sums))]
    if frames:
        simple.append(("last frame again, with its chance", _value(_ratio(_REPEAT), sums)))
    name, best = min(simple, key=lambda item: item[1])
    likelihood = Figure(
        f"negative log-likelihood per {words.step}",
        _value(_ratio(_LOSS), sums),
        *interval(found, _ratio(_LOSS)),
        best if baselines else None,
        name if baselines else "",
        "lower",
        "nats",
    )
    if not frames:
        return (likelihood,)
    accuracy = Figure(
        "frame accuracy",
        _value(_accuracy(_HIT), sums),
        *interval(found, _accuracy(_HIT)),
        _value(_accuracy(_HIT0), sums),
        "last frame again",
        "higher",
        "%",
    )
    return likelihood, accuracy


def _value(figure: Callable[[Statistics], Statistics], sums: Values) -> float:
    return float(figure(sums))


def _by_label(model: Generator, found: Statistics, labels: NDArray[np.int64], words: _Words) -> str:
    width = max(len("label"), *map(len, model.labels))
    lines = [f"{'label':{width}}  sequences  nats per {words.step}  95 % interval"]
    for place, label in enumerate(model.labels):
        own = found[labels == place]
        if len(own) == 0:
            lines.append(f"{label:{width}}  {0:9}")
            continue
        low, high = interval(own, _ratio(_LOSS))
        value = _value(_ratio(_LOSS), own.sum(0))
        wide = len(f"nats per {words.step}")
        lines.append(f"{label:{width}}  {len(own):9,}  {value:{wide}.3f}  {low:.3f} to {high:.3f}")
    return "\n".join(lines)
