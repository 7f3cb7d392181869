"""How a tagger does: the share of right tags, and of chunks their F1.

F1 (van Rijsbergen 1979) is the harmonic mean of precision and recall of whole chunks, as conlleval
computes it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from unrolled.data.examples import Bucketed, Examples
from unrolled.models.modes import evaluating
from unrolled.models.tagger import Tagger
from unrolled.tasks.bootstrap import Statistics, interval
from unrolled.tasks.confusion import Confusion
from unrolled.tasks.report import Figure, Report
from unrolled.tasks.spans import counts, spans
from unrolled.tasks.text_plots import aligned, by_class
from unrolled.tasks.words import counted

_AT_ONCE = 128

Tags = NDArray[np.int64]


def predicted(model: Tagger, examples: Examples) -> list[Tags]:
    """The tags of each sentence, ``[T]`` each, in the order of the examples."""
    found: list[Tags] = [np.zeros(0, np.int64)] * len(examples)
    with evaluating(model), torch.no_grad():
        for places in Bucketed(examples, _AT_ONCE, "words", None).order():
            batch = examples.batch(places).to(model.device)
            lengths = batch.sequences["words"].lengths
            given = model.arguments({name: s.data for name, s in batch.sequences.items()})
            tags = model.decode(model(lengths=lengths, **given), lengths).cpu().numpy()
            for place, column, n in zip(
                places.tolist(), tags.T, examples.lengths("words")[places], strict=True
            ):
                found[place] = column[:n]
    return found


def gold(examples: Examples) -> Iterator[Tags]:
    """The right tags of each sentence."""
    for row in examples.indices.tolist():
        yield examples.sequences["tags"][row].astype(np.int64)


def figures(model: Tagger, examples: Examples) -> dict[str, float]:
    """Validation's figures: accuracy, and of chunks their F1."""
    sums = _statistics(model, examples, predicted(model, examples)).sum(0)
    found = {"accuracy": float(_accuracy(sums))}
    return {**found, "f1": float(_f1(sums))} if model.chunks else found


def report(model: Tagger, examples: Examples) -> Report:
    """The report of a model on tagged sentences."""
    said = predicted(model, examples)
    statistics = _statistics(model, examples, said)
    usual: Statistics | None = None
    if model.usual:
        table = np.array(model.usual)
        words = (examples.sequences["words"][row] for row in examples.indices.tolist())
        usual = _statistics(model, examples, [table[of] for of in words])
    shown = [_figure("accuracy of tags", statistics, _accuracy, usual)]
    k = len(model.tags)
    taken = np.zeros((k, k), np.int64)
    for right, of in zip(gold(examples), said, strict=True):
        np.add.at(taken, (right, of), 1)
    # Tags that only could be, such as the I of chunks of one word, say nothing.
    used = np.flatnonzero(taken.sum(0) + taken.sum(1))
    names = tuple(model.tags.names[i] for i in used.tolist())
    confusion = Confusion(names, taken[used][:, used])
    tables = {"by tag": by_class(confusion)}
    if model.chunks:
        shown.insert(0, _figure("F1 of chunks", statistics, _f1, usual))
        tables = {"by type of chunk": _by_type(model, examples, said), **tables}
    return Report(
        f"{counted(int(statistics[:, 1].sum()), 'word')} in {counted(len(examples), 'sentence')}",
        tuple(shown),
        tables,
        {"confusion": confusion.to_details()},
    )


def _figure(
    name: str,
    statistics: Statistics,
    figure: Callable[[Statistics], Statistics],
    usual: Statistics | None,
) -> Figure:
    low, high = interval(statistics, figure)
    baseline = None if usual is None else float(figure(usual.sum(0)))
    value = float(figure(statistics.sum(0)))
    return Figure(name, value, low, high, baseline, "each word's most frequent tag", "higher", "%")


def _statistics(model: Tagger, examples: Examples, said: list[Tags]) -> Statistics:
    """What each sentence adds: right tags, words; right, predicted and true chunks: ``[n, 5]``."""
    names, chunks = model.tags.names, model.chunks
    rows: list[tuple[int, ...]] = []
    for right, of in zip(gold(examples), said, strict=True):
        found = (0, 0, 0)
        if chunks:
            found = counts([names[i] for i in right.tolist()], [names[i] for i in of.tolist()])
        rows.append((int((right == of).sum()), len(right), *found))
    return np.array(rows, np.float64)


def _accuracy(sums: Statistics) -> Statistics:
    return sums[..., 0] / sums[..., 1]


def _f1(sums: Statistics) -> Statistics:
    """0 where no chunk is there and none was predicted."""
    return 2 * sums[..., 2] / np.maximum(sums[..., 3] + sums[..., 4], 1)


def _by_type(model: Tagger, examples: Examples, said: list[Tags]) -> str:
    """A line a type of chunk, the most frequent first."""
    names = model.tags.names
    right, claimed, there = Counter[str](), Counter[str](), Counter[str]()
    for true, of in zip(gold(examples), said, strict=True):
        a = set(spans([names[i] for i in true.tolist()]))
        b = set(spans([names[i] for i in of.tolist()]))
        right.update(kind for kind, *_ in a & b)
        claimed.update(kind for kind, *_ in b)
        there.update(kind for kind, *_ in a)
    types = sorted({*claimed, *there}, key=lambda kind: (-there[kind], kind))
    rows: list[tuple[str, ...]] = []
    for kind in types:
        shares = (
            (right[kind], claimed[kind]),
            (right[kind], there[kind]),
            (2 * right[kind], claimed[kind] + there[kind]),
        )
        written = (f"{p / w:.3f}" if w else "—" for p, w in shares)
        rows.append((kind, *written, f"{there[kind]:,}"))
    return aligned(("type", "precision", "recall", "F1", "chunks"), rows)
