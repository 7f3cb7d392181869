"""Edit distance: how many insertions, deletions and substitutions make one sequence the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def distance(left: Sequence[int], right: Sequence[int]) -> int:
    """The fewest edits (Levenshtein, 1966), a row of the table at a time (Wagner, Fischer, 1974).

    Within a row an insertion costs what stands at its left and 1. With each column's place taken
    off, that is the least so far, which NumPy finds for the whole row at once.
    """
    if len(left) < len(right):
        left, right = right, left
    other = np.asarray(right, np.int64)
    places = np.arange(len(right) + 1)
    row = places.copy()
    for i, token in enumerate(left, 1):
        below = np.empty_like(row)
        below[0] = i
        np.minimum(row[1:] + 1, row[:-1] + (other != token), out=below[1:])
        row = np.minimum.accumulate(below - places) + places
    return int(row[-1])


def closest(found: Sequence[int], references: Sequence[Sequence[int]]) -> tuple[int, int]:
    """The edits to the nearest of several references, and its length; of equal ones the first's."""
    counted = [(distance(found, reference), len(reference)) for reference in references]
    return min(counted, key=lambda c: c[0])
