"""The baseline of translation: each source token writes what most often stood beside it.

Sequences are laid along the diagonal: of S source tokens and T target tokens the i-th one stands
beside the targets from ⌊iT / S⌋ up to ⌊(i + 1)T / S⌋, which may be none, one or several. What
training has most often beside a token is what it writes; one that training lacks writes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from unrolled.data.examples import Examples
from unrolled.tasks.translate_data import SOURCE, TARGET

NAME = "most frequent target of each source token, along the diagonal"

Written = tuple[int, ...]


def learn_diagonal(examples: Examples) -> dict[int, Written]:
    """What each source token writes; of equally frequent targets the first in their order."""
    beside: dict[int, Counter[Written]] = {}
    sources, targets = examples.sequences[SOURCE], examples.sequences[TARGET]
    for place in examples.indices.tolist():
        source, target = sources[place].tolist(), targets[place].tolist()
        for i, token in enumerate(source):
            begin, end = (k * len(target) // len(source) for k in (i, i + 1))
            beside.setdefault(token, Counter())[tuple(target[begin:end])] += 1
    return {
        token: min(counts, key=lambda written: (-counts[written], written))
        for token, counts in beside.items()
    }


def write_diagonal(table: dict[int, Written], source: Sequence[int]) -> Written:
    """What a source's tokens write, one after the other."""
    return tuple(t for token in source for t in table.get(token, ()))
