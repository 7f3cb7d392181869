"""Text to pieces, the tokens of a vocabulary: characters, words or items, cut and counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

UNK = "<unk>"
CODE_POINTS = 0x110000

# A word takes the one space before it, so that joining the tokens gives the text back; a line end
# stands alone, so that text cut after line ends gives the same tokens as the whole. "<unk>" written
# out in a corpus (Penn Treebank, WikiText) is the unknown word itself.
_WORD = re.compile(r" ?<unk>| ?\w+(?:['’]\w+)*| ?[^\w\s]+|\n|[^\S\n]+(?!\S)|[^\S\n]")
# No-break spaces and the like are within an item, such as a number with its thousands apart.
_ITEM = re.compile(r"\n|\S+", re.ASCII)


def words(text: str) -> list[str]:
    """Words, punctuation, line ends and space, which joined give the text."""
    return _WORD.findall(text)


def items(text: str) -> list[str]:
    """What stands between spaces, and line ends."""
    return _ITEM.findall(text)


def code_points(text: str) -> NDArray[np.uint32]:
    """The characters' numbers: uint32 ``[len(text)]``."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.dtype("<u4"))


def count_characters(texts: Iterable[str]) -> dict[str, int]:
    """How often each character occurs."""
    counts = np.zeros(CODE_POINTS, np.int64)
    for text in texts:
        found = np.bincount(code_points(text))
        counts[: len(found)] += found
    return {chr(point): int(counts[point]) for point in np.flatnonzero(counts)}


def count(pieces: Iterable[str]) -> dict[str, int]:
    """How often each piece occurs; "<unk>" is none."""
    counts = Counter(pieces)
    for spelled in (UNK, f" {UNK}"):
        counts.pop(spelled, None)
    return counts
