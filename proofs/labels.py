"""Whether a generator's label matters: what is drawn with a label is told by it.

Two ways to tell: by the generator itself, under which label a sequence is likeliest; and, for
texts, by a classifier that has never seen the generator: naive Bayes over pieces of one to three
characters.
"""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unrolled.data.bad_rows import BadRows
from unrolled.data.examples import Examples
from unrolled.models.generator import Generator
from unrolled.tasks.bootstrap import Statistics, interval
from unrolled.tasks.generate_data import LABEL, GenerateData, read_parts
from unrolled.tasks.generate_statistics import LOSS, STEPS, statistics
from unrolled.tasks.report import Figure

_TOLD = "samples told by their label"


def music(directory: Path, words: Sequence[str], seed: int) -> list[Figure]:
    """Of 25 pieces of 100 frames drawn for each label, the share likeliest under it."""
    del words
    return [likeliest_under_own(Generator.from_pretrained(directory), 25, 100, seed)]


def likeliest_under_own(model: Generator, each: int, length: int, seed: int) -> Figure:
    """Of so many sequences drawn for each label, the share that is likeliest under it."""

    def told(label: str, number: int) -> bool:
        drawn = model.generate(label, length=length, seed=_seed(seed, number))
        under = [float(model.log_probability(drawn, name).sum()) for name in model.labels]
        return model.labels[int(np.argmax(under))] == label

    return _share(model.labels, each, told)


def names(directory: Path, words: Sequence[str], seed: int) -> list[Figure]:
    """What the label is worth on the test part, and the share of 50 names that are told by it."""
    model = Generator.from_pretrained(directory)
    folder = Path(words[0])
    classifier = NaiveBayes(
        {label: (folder / f"{label}.txt").read_text("utf-8").split("\n") for label in model.labels}
    )

    def told(label: str, number: int) -> bool:
        name = model.generate(label, length=40, seed=_seed(seed, number))
        return classifier.label(name) == label

    with tempfile.TemporaryDirectory() as cache:
        parts = read_parts(words, GenerateData(), seed, Path(cache), BadRows(0))
        assert parts.test is not None
        shares = np.bincount(parts.train.values[LABEL][parts.train.indices])
        worth = without_label(model, parts.test, shares / shares.sum())
    return [worth, _share(model.labels, 50, told)]


def without_label(model: Generator, examples: Examples, shares: NDArray[np.float64]) -> Figure:
    """The likelihood of sequences with their label, beside that of the same network without it.

    Without it a sequence may be of any label, each as likely as it is frequent: its probability is
    the mean over the labels, of the whole sequence.

    Args:
        model: The generator.
        examples: Texts, with their labels.
        shares: How frequent each label is.
    """
    own = statistics(model, examples, 256)
    under: list[NDArray[np.float64]] = []
    for place in range(len(model.labels)):
        every = {**examples.values, LABEL: np.full_like(examples.values[LABEL], place)}
        under.append(statistics(model, replace(examples, values=every), 256)[:, LOSS])
    mixed = -np.logaddexp.reduce(np.log(shares)[:, None] - np.stack(under), axis=0)

    def ratio(sums: Statistics) -> Statistics:
        return sums[..., 0] / sums[..., 1]

    pairs = np.stack([own[:, LOSS], own[:, STEPS]], 1)
    return Figure(
        "nats per token with the label",
        float(ratio(pairs.sum(0))),
        *interval(pairs, ratio),
        float(mixed.sum() / own[:, STEPS].sum()),
        "the same network, the label not known",
        "lower",
        "nats",
    )


class NaiveBayes:
    """A label for a text, by how often its pieces occur in each label's texts, all labels alike.

    Args:
        texts: Those of each label.
    """

    def __init__(self, texts: Mapping[str, Sequence[str]]) -> None:
        counts = {label: Counter(p for t in own for p in pieces(t)) for label, own in texts.items()}
        kinds = len(set().union(*counts.values()))
        self._logs = {
            label: (
                {p: math.log(n + 1) for p, n in own.items()},
                math.log(own.total() + kinds),
            )
            for label, own in counts.items()
        }

    def label(self, text: str) -> str:
        """The likeliest label; each piece counts once more than it was seen (Laplace)."""
        found = list(pieces(text))
        return max(
            self._logs,
            key=lambda label: (
                sum(self._logs[label][0].get(p, 0.0) for p in found)
                - len(found) * self._logs[label][1]
            ),
        )


def pieces(text: str) -> list[str]:
    """All runs of one to three characters, with a mark at both ends."""
    marked = f"^{text.strip().lower()}$"
    return [marked[i : i + n] for n in (1, 2, 3) for i in range(len(marked) - n + 1)]


def _share(labels: Sequence[str], each: int, told: Callable[[str, int], bool]) -> Figure:
    """How often what is drawn with a label is told by it; drawn with numbers from 0 on."""
    hits = [
        told(label, place * each + i) for place, label in enumerate(labels) for i in range(each)
    ]
    found = np.array(hits, np.float64)[:, None]
    low, high = interval(
        np.concatenate([found, np.ones_like(found)], 1), lambda sums: sums[..., 0] / sums[..., 1]
    )
    return Figure(_TOLD, float(found.mean()), low, high, 1 / len(labels), "chance", "higher", "%")


def _seed(seed: int, number: int) -> int:
    return 1_000_000 * seed + number
