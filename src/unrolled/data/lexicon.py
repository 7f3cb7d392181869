"""Words by whole words, for texts that come in words, and values of further columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from unrolled.errors import DataError


@dataclass(frozen=True)
class Lexicon:
    """Words in the order of their ids, and behind them one id for every other word.

    Attributes:
        words: Each once.
    """

    words: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self._ids) != len(self.words):
            twice = next(word for word, n in Counter(self.words).items() if n > 1)
            raise DataError(f"the word {twice!r} stands twice in the lexicon")

    @staticmethod
    def build(words: Iterable[str], min_count: int = 1) -> Lexicon:
        """The words that occur so often, by falling count, ties in their own order.

        Raises:
            DataError: where none does.
        """
        counts = Counter(words)
        kept = [word for word, n in counts.items() if n >= min_count]
        if not kept:
            raise DataError(
                f"no word occurs {min_count} times: lower min_count" if counts else "no word occurs"
            )
        return Lexicon(tuple(sorted(kept, key=lambda word: (-counts[word], word))))

    def __len__(self) -> int:
        """The number of ids."""
        return len(self.words) + 1

    @property
    def unk(self) -> int:
        """The id of what is unknown."""
        return len(self.words)

    def encode(self, words: Sequence[str]) -> NDArray[np.int64]:
        """Their ids ``[n]``."""
        return np.array([self._ids.get(word, self.unk) for word in words], np.int64)

    def to_dict(self) -> dict[str, object]:
        """The lexicon as plain values for JSON."""
        return {"words": list(self.words)}

    @staticmethod
    def from_dict(values: object) -> Lexicon:
        """What ``to_dict`` gave.

        Raises:
            DataError: where ``values`` are not of that form.
        """
        fields = cast("Mapping[str, object]", values) if isinstance(values, Mapping) else {}
        words = fields.get("words")
        listed = cast("list[object]", words) if isinstance(words, list) else [None]
        if set(fields) != {"words"} or not all(isinstance(word, str) for word in listed):
            raise DataError("a lexicon is an object with words, a list of strings")
        return Lexicon(tuple(cast("list[str]", listed)))

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: i for i, word in enumerate(self.words)}
