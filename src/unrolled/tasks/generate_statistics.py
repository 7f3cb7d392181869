"""What each held-out sequence adds to a generator's figures, by the model and by simple models.

Long sequences are read a part at a time with the state carried on, so that a whole one counts and
no more than a part of a few is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unrolled.data.batch import Batch
from unrolled.data.cuts import BEFORE, cut
from unrolled.data.examples import Bucketed, Examples
from unrolled.models.background import Background
from unrolled.models.generator import Generator
from unrolled.models.modes import evaluating
from unrolled.models.step_losses import step_losses
from unrolled.tasks.bootstrap import Statistics
from unrolled.tasks.generate_data import LABEL, SEQUENCE

Values = NDArray[np.float64]

# What each sequence adds: its steps that are judged, and their losses by the model and by the two
# simplest models; of frames also the loss of the first, which isn't judged, and hits, false alarms
# and misses of keys by the frame before.
STEPS, LOSS, OFTEN, REPEAT, FIRST, HIT, FALSE, MISS = range(8)
# Behind them, of frames, the model's keys by their probability in bins of 1 / BINS: how many, how
# many of them are on, and the sum of their probabilities.
BINS = 20
KEYS, ON, CHANCE = (slice(begin, begin + BINS) for begin in range(8, 8 + 3 * BINS, BINS))

_AT_ONCE = 512


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
def statistics(
    model: Generator, examples: Examples, batch_size: int, at_once: int = _AT_ONCE
) -> Statistics:
    """What each sequence adds to the sums, in the examples' order: float64 ``[n, K]``.

    Args:
        model: The generator.
        examples: The sequences.
        batch_size: How many are read side by side.
        at_once: The most steps of each that are.
    """
    found = np.zeros((len(examples), _columns(model)))
    with evaluating(model):
        for places in Bucketed(examples, batch_size, SEQUENCE, None).order():
            some = examples.part(places)
            for going, batch, logits, begins in _parts(model, some, at_once):
                found[places[going]] += _of_batch(model, batch, logits, begins)
    return found


def _parts(
    model: Generator, examples: Examples, at_once: int
) -> Iterator[tuple[NDArray[np.int64], Batch, Tensor, bool]]:
    """The examples side by side, a part at a time: which go on, the part, its logits, if first."""
    parts = cut(examples, SEQUENCE, at_once, model.start)
    counts = np.diff(parts.first)
    state = None
    before = going = np.arange(len(examples))
    for number in range(int(counts.max())):
        going = np.flatnonzero(counts > number)
        if state is not None:
            # Those that have ended drop out.
            kept = torch.from_numpy(np.searchsorted(before, going)).to(model.device)
            state = tuple(each[:, kept] for each in state)
        batch = parts.examples.batch(parts.first[going] + number)
        given = batch.to(model.device)
        sequence = given.sequences[SEQUENCE]
        steps = model.before(sequence.data[:-1], given.values[BEFORE])
        logits, state = model(steps, given.values[LABEL], state, sequence.lengths)
        yield going, batch, logits, number == 0
        before = going


def _columns(model: Generator) -> int:
    return MISS + 1 if model.vocabulary is not None else CHANCE.stop


def _of_batch(model: Generator, batch: Batch, logits: Tensor, begins: bool) -> Values:
    sequence, labels = batch.sequences[SEQUENCE], batch.values[LABEL]
    losses = step_losses(logits, sequence.data.to(model.device), sequence.lengths)
    frames = model.vocabulary is None
    judged = sequence.present().numpy()
    if frames and begins:
        judged[0] = False
    wide = losses.double().cpu().numpy()
    out = np.zeros((batch.size, _columns(model)))
    out[:, STEPS] = judged.sum(0)
    out[:, LOSS] = (wide * judged).sum(0)
    data = sequence.data.numpy()
    before = np.concatenate([batch.values[BEFORE].numpy()[None], data[:-1]])
    if frames:
        if begins:
            out[:, FIRST] = wide[0]
        target = data.astype(np.bool_)
        again = before.astype(np.bool_)
        for place, kind in (
            (HIT, again & target),
            (FALSE, again & ~target),
            (MISS, ~again & target),
        ):
            out[:, place] = (kind.sum(-1) * judged).sum(0)
        chances = torch.sigmoid(logits.double()).cpu().numpy()
        for row in range(batch.size):
            p, on = chances[judged[:, row], row].ravel(), target[judged[:, row], row].ravel()
            bins = np.minimum((p * BINS).astype(np.int64), BINS - 1)
            for place, weights in ((KEYS, None), (ON, on), (CHANCE, p)):
                out[row, place] = np.bincount(bins, weights, BINS)
    if model.background is not None:
        of_labels = labels.numpy()
        simple = often(model.background, data, of_labels, frames)
        out[:, OFTEN] = (simple * judged).sum(0)
        if frames:
            out[:, REPEAT] = (repeat(model.background, data, before, of_labels) * judged).sum(0)
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
    background: Background,
    sequence: NDArray[np.int64],
    before: NDArray[np.int64],
    labels: NDArray[np.int64],
) -> Values:
    """Losses ``[T, B]`` by how often a key stays as it was for a label.

    Args:
        background: The counts.
        sequence: Frames ``[T, B, K]``.
        before: What stands before each of them, likewise.
        labels: The labels' places ``[B]``.
    """
    pairs = background.pairs[labels] + 0.5
    logs = np.log(pairs / pairs.sum(-1, keepdims=True))
    places = np.arange(len(labels))[:, None]
    return -logs[places, before, sequence].sum(-1)
