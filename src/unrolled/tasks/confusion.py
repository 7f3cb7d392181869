"""Confusion matrices: which classes are found, and which are taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError

_Z = 1.959963984540054  # of the normal distribution, 95 % lie within


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often each class was taken for each.

    Attributes:
        labels: The classes' names, K of them.
        counts: int64 ``[K, K]``: row by the true class, column by the one that the model says.
    """

    labels: tuple[str, ...]
    counts: NDArray[np.int64]

    def __post_init__(self) -> None:
        k = len(self.labels)
        if self.counts.shape != (k, k) or (self.counts < 0).any():
            raise DataError(
                f"a confusion matrix of {k} classes has {k} × {k} counts of at least 0, not "
                f"{' × '.join(map(str, self.counts.shape))}"
            )

    @staticmethod
    def from_details(details: Mapping[str, Any]) -> Confusion:
        """Of ``{"labels": [...], "counts": [[...]]}``, as reports hold it."""
        labels: Sequence[str] = details["labels"]
        return Confusion(tuple(map(str, labels)), np.array(details["counts"], np.int64))

    def to_details(self) -> dict[str, Any]:
        """For a report."""
        return {"labels": list(self.labels), "counts": self.counts.tolist()}

    @property
    def support(self) -> NDArray[np.int64]:
        """How many examples each class has: ``[K]``."""
        return self.counts.sum(axis=1)

    def precision(self) -> NDArray[np.float64]:
        """Of what the model says is a class, the share that is: ``[K]``, NaN where it is none."""
        return _share(np.diag(self.counts), self.counts.sum(axis=0))

    def recall(self) -> NDArray[np.float64]:
        """Of each class, the share that is found: ``[K]``, NaN where it has no example."""
        return _share(np.diag(self.counts), self.support)

    def f1(self) -> NDArray[np.float64]:
        """Twice what is right, over what is said and what is: ``[K]``, NaN where that is none."""
        return _share(2 * np.diag(self.counts), self.counts.sum(axis=0) + self.support)

    def recall_interval(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The ends of the recalls' 95 % confidence intervals (Wilson 1927): ``[K]`` each."""
        n = self.support.astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = np.diag(self.counts) / n
            centre = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
            half = _Z / (1 + _Z**2 / n) * np.sqrt(p * (1 - p) / n + _Z**2 / (4 * n**2))
        return centre - half, centre + half

    def pairs(self, most: int) -> list[tuple[str, str, int]]:
        """The most frequent mistakes: the true class, what it was taken for, how often."""
        wrong = self.counts * (1 - np.eye(len(self.labels), dtype=np.int64))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        rows, columns = np.unravel_index(order, wrong.shape)
        return [
            (self.labels[i], self.labels[j], int(wrong[i, j]))
            for i, j in zip(rows, columns, strict=True)
            if wrong[i, j]
        ]

    def largest(self, most: int, others: str) -> Confusion:
        """With the ``most`` - 1 classes that have the most examples, and the rest as one."""
        k = len(self.labels)
        if k <= most:
            return self
        order = np.argsort(-self.support, kind="stable")
        kept = np.sort(order[: most - 1])
        group = np.full(k, most - 1)
        group[kept] = np.arange(most - 1)
        counts = np.zeros((most, most), np.int64)
        np.add.at(counts, (group[:, None], group[None, :]), self.counts)
        return Confusion((*(self.labels[i] for i in kept), others), counts)


def _share(part: NDArray[np.int64], of: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return part / of
