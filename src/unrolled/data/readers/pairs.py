"""Pairs of files: the n-th line of the one belongs to the n-th line of the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from unrolled.data.corpus import Source
from unrolled.data.lines import lines
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row
from unrolled.errors import DataError


def read_pairs(sources: Sequence[Source], reading: Reading) -> Iterator[Row]:
    """Rows of ``source`` and ``target``; their place is the source's.

    Lines that are empty in both are no rows.

    Raises:
        DataError: where there are not two files, or they differ in their number of lines.
    """
    if len(sources) != 2:
        raise DataError(
            f"pairs are two files, the source's and the target's, in this order; {len(sources)} "
            "came: "
            f"{', '.join(source.name for source in sources[:3])}"
        )
    source, target = sources
    counts = [0, 0]
    for left, right in zip_longest(
        lines(source, reading.encoding), lines(target, reading.encoding)
    ):
        counts[0] += left is not None
        counts[1] += right is not None
        if left is None or right is None:
            continue
        texts = left.text.strip(), right.text.strip()
        if left.problem:
            reading.bad.add(source.name, left.number, left.problem)
        elif right.problem:
            reading.bad.add(target.name, right.number, right.problem)
        elif all(texts):
            yield Row(source.name, left.number, {"source": texts[0], "target": texts[1]})
        elif any(texts):
            empty, other = (target, source) if texts[0] else (source, target)
            reading.bad.add(
                empty.name, left.number, f"the line is empty, and that of {other.name} is not"
            )
    if counts[0] != counts[1]:
        raise DataError(
            f"{source.name} has {counts[0]:,} line{'s' * (counts[0] != 1)} and {target.name} has "
            f"{counts[1]:,}: the files of a pair have as many lines, each the translation of the "
            "other"
        )
