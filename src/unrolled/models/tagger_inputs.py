"""What a tagger is built of, and how it reads sentences: words, spellings, further columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.lexicon import Lexicon
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.models.config import LayersConfig, count, probability, require, switch

SPELLING = 24
"""The characters of a word that are read: of a longer one its first and its last half as many."""

_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class TaggerConfig(LayersConfig):
    """What a tagger is built of, besides its layers.

    Attributes:
        hidden_size: The hidden units of each layer and direction.
        dropout: The probability that a value between layers, or before the output, is dropped in
            training.
        bidirectional: Whether each layer also reads the sentence from its end.
        embedding_size: The length of a word's vector.
        embedding_dropout: The probability that a value of an input vector is dropped in training.
        token_dropout: The probability that a word becomes "<unk>" in training; its spelling stays.
        character_size: The length of a character's vector.
        character_hidden_size: The units, in each direction, of the layer that reads a word's
            characters; 0 leaves them unread.
        column_size: The length of the vector of a value in a further column.
        fold: Whether words are looked up in small letters and with 0 for each digit; their
            characters are read as they stand.

    Raises:
        ModelError: where a value is out of its range or of another type.
    """

    hidden_size: int = 128
    dropout: float = 0.5
    bidirectional: bool = True
    embedding_size: int = 64
    embedding_dropout: float = 0.3
    token_dropout: float = 0.1
    character_size: int = 24
    character_hidden_size: int = 48
    column_size: int = 24
    fold: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self,
            {
                "bidirectional": switch(),
                "embedding_size": count(1),
                "embedding_dropout": probability(),
                "token_dropout": probability(),
                "character_size": count(1),
                "character_hidden_size": count(0),
                "column_size": count(1),
                "fold": switch(),
            },
        )


@dataclass(frozen=True)
class TaggerInputs:
    """What a tagger knows of its input.

    Attributes:
        words: The words by their looks (see ``TaggerConfig.fold``), with an id for unknown ones.
        characters: Their characters, with "<unk>"; None where spellings are not read.
        columns: The values of each further column by its name, with an id for unknown ones.
    """

    words: Lexicon
    characters: Vocabulary | None
    columns: Mapping[str, Lexicon]

    @staticmethod
    def build(
        config: TaggerConfig,
        sentences: Iterable[Sequence[str]],
        columns: Mapping[str, Iterable[Sequence[str]]] | None = None,
        min_count: int = 1,
    ) -> TaggerInputs:
        """What occurs in training data.

        Args:
            config: Whether words are folded and characters read.
            sentences: Their words; read several times.
            columns: Of each further column the values of every sentence.
            min_count: How often a word occurs that gets a vector of its own.

        Raises:
            DataError: where no word does.
        """
        folded = (fold(word, config) for words in sentences for word in words)
        return TaggerInputs(
            Lexicon.build(folded, min_count),
            Vocabulary.build((word for words in sentences for word in words), "char", eos=False)
            if config.character_hidden_size
            else None,
            {
                name: Lexicon.build(value for values in rows for value in values)
                for name, rows in (columns or {}).items()
            },
        )

    def encode(
        self, config: TaggerConfig, words: Sequence[str], columns: Mapping[str, Sequence[str]]
    ) -> dict[str, NDArray[Any]]:
        """A sentence as the network reads it.

        Returns:
            ``words``: ids ``[T]``; ``characters``, where read: ids from 1 up ``[T, SPELLING]`` with
            0 behind the end; and each column's ids ``[T]`` under its name behind "column ".

        Raises:
            DataError: where there is no word, or the columns are others or of other lengths.
        """
        if not words:
            raise DataError("the sentence is empty")
        if set(columns) != set(self.columns):
            raise DataError(
                f"the tagger reads {_named(self.columns)} beside the words, got {_named(columns)}"
            )
        found: dict[str, NDArray[Any]] = {
            "words": self.words.encode([fold(w, config) for w in words])
        }
        if self.characters is not None:
            found["characters"] = np.stack([_spelled(self.characters, w) for w in words])
        for name, values in columns.items():
            if len(values) != len(words):
                raise DataError(
                    f"the column {name} has {len(values)} values for {len(words)} words"
                )
            found[column(name)] = self.columns[name].encode(values)
        return found

    def to_dict(self) -> dict[str, object]:
        """The same as plain values for JSON."""
        return {
            "words": self.words.to_dict(),
            "characters": None if self.characters is None else self.characters.to_dict(),
            "columns": {name: values.to_dict() for name, values in self.columns.items()},
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> TaggerInputs:
        """What ``to_dict`` gave.

        Raises:
            DataError: where a part is not of that form.
            KeyError: where one is missing.
        """
        characters = values["characters"]
        return TaggerInputs(
            Lexicon.from_dict(values["words"]),
            None if characters is None else Vocabulary.from_dict(characters),
            {name: Lexicon.from_dict(v) for name, v in values["columns"].items()},
        )


def column(name: str) -> str:
    """Under what name a further column stands among the encoded ones."""
    return f"column {name}"


def fold(word: str, config: TaggerConfig) -> str:
    """A word as it is looked up."""
    return _DIGIT.sub("0", word.lower()) if config.fold else word


def _spelled(characters: Vocabulary, word: str) -> NDArray[np.int64]:
    half = SPELLING // 2
    kept = word if len(word) <= SPELLING else word[:half] + word[-half:]
    out = np.zeros(SPELLING, np.int64)
    out[: len(kept)] = characters.encode(kept).astype(np.int64) + 1
    return out


def _named(columns: Iterable[str]) -> str:
    listed = ", ".join(sorted(columns))
    return f"the columns {listed}" if listed else "no further columns"
