"""Held-out parts: which examples to learn from and which to judge by, drawn by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError

Indices = NDArray[np.int64]


def held_out(
    n: int,
    fraction: float,
    seed: int,
    *,
    labels: Sequence[Any] | NDArray[Any] | None = None,
    groups: Sequence[Any] | NDArray[Any] | None = None,
) -> tuple[Indices, Indices]:
    """The places of the examples for training and of those held out, each in rising order.

    About ``n * fraction`` examples are held out, and at least one, unless the fraction is 0.

    Args:
        n: How many examples there are.
        fraction: The share to hold out, at least 0 and less than 1.
        seed: The same seed and arguments give the same parts.
        labels: Each example's class: every class keeps about its share in both parts, and at least
            one example for training.
        groups: What each example belongs to: all examples of a group are on one side.

    Raises:
        DataError: where a part would be empty.
        ValueError: where both labels and groups are given, or not ``n`` of them.
    """
    if not 0 <= fraction < 1:
        raise DataError(f"the held-out fraction is at least 0 and less than 1, not {fraction}")
    if labels is not None and groups is not None:
        raise ValueError("give labels or groups, not both")
    kinds = labels if labels is not None else groups
    if kinds is not None and len(kinds) != n:
        raise ValueError(f"there are {n} examples and {len(kinds)} labels or groups")
    if fraction == 0:
        return np.arange(n, dtype=np.int64), np.empty(0, np.int64)
    if n < 2:
        raise DataError(
            f"can't hold out {fraction:.0%} of {n} example{'s' * (n != 1)}: give more, or a file "
            "of its own to judge by"
        )
    draw = np.random.default_rng(seed)
    wanted = min(max(1, round(n * fraction)), n - 1)
    if groups is not None:
        held = _grouped(draw, wanted, groups)
    elif labels is not None:
        held = _stratified(draw, wanted, labels)
    else:
        held = draw.permutation(n)[:wanted]
    out = np.zeros(n, np.bool_)
    out[held] = True
    return np.flatnonzero(~out).astype(np.int64), np.flatnonzero(out).astype(np.int64)


def _stratified(
    draw: np.random.Generator, wanted: int, labels: Sequence[Any] | NDArray[Any]
) -> Indices:
    _, numbers, counts = np.unique(np.asarray(labels), return_inverse=True, return_counts=True)
    if counts.max() == 1:
        raise DataError(
            "each class has one example alone: there is none to hold out, give more of each"
        )
    # Hamilton's method: whole shares, then one more each for the largest remainders.
    shares = wanted * counts / len(numbers)
    held = np.minimum(np.floor(shares).astype(np.int64), counts - 1)
    # Ties of remainders are drawn, not given to the first classes.
    order = draw.permutation(len(counts))
    order = order[np.argsort(-(shares - held)[order], kind="stable")]
    while (missing := wanted - int(held.sum())) > 0:
        free = order[held[order] < counts[order] - 1]
        if len(free) == 0:
            break
        held[free[:missing]] += 1
    shuffled = draw.permutation(len(numbers))
    by_class = shuffled[np.argsort(numbers[shuffled], kind="stable")]
    begins = np.concatenate(([0], np.cumsum(counts)[:-1]))
    return np.concatenate(
        [by_class[b : b + k] for b, k in zip(begins.tolist(), held.tolist(), strict=True)]
    )


def _grouped(
    draw: np.random.Generator, wanted: int, groups: Sequence[Any] | NDArray[Any]
) -> Indices:
    _, numbers, counts = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(counts) < 2:
        raise DataError(
            "all examples belong to one group: there is none to hold out, give more groups"
        )
    order = draw.permutation(len(counts))
    taken: list[int] = []
    for group in order.tolist():
        if counts[group] <= wanted:
            taken.append(group)
            wanted -= int(counts[group])
    if not taken:
        taken = [int(order[np.argmin(counts[order])])]
    return np.flatnonzero(np.isin(numbers, taken))
