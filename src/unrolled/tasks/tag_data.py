"""The data of a tagger: which columns are read of each sentence, and how they are encoded."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unrolled.data.bad_rows import BadRows, usable
from unrolled.data.encode import encode_rows
from unrolled.data.examples import Examples
from unrolled.data.labels import Labels
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row
from unrolled.data.rows import Format, Rows, find_rows
from unrolled.errors import DataError
from unrolled.models.tagger import Tagger
from unrolled.models.viterbi import is_bio


@dataclass(frozen=True)
class TagData:
    """How tagged sentences are read and divided.

    Attributes:
        names: What the columns of a CoNLL file are called, from the left; c0, c1 … where left out.
        words: The column of the words.
        tags: The column of the tags.
        columns: Further columns that are read beside the words, such as a part of speech.
        min_count: Only words that occur so often in training get a vector of their own.
        validation: Data of its own that validates; by default it is taken from the data.
        test: Data of its own that the report is made on; by default it is taken from the data.
        validation_fraction: The share of the sentences outside the test part that validates.
        test_fraction: The share of the sentences that the report is made on.
        skip_bad: So many sentences that can't be read are skipped, and said; more are an error.
        format: How the files are written; by default as their names say, and where they say
            nothing, in CoNLL's columns.
        encoding: How text is encoded.
    """

    names: tuple[str, ...] = ()
    words: str = "c0"
    tags: str = "c1"
    columns: tuple[str, ...] = ()
    min_count: int = 1
    validation: str | None = None
    test: str | None = None
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    skip_bad: int = 0
    format: Format | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class Tagged:
    """Tagged sentences that can be read, anew at each call.

    Attributes:
        rows: All rows.
        data: What is read of them.
        bad: Where the others are counted.
    """

    rows: Rows
    data: TagData
    bad: BadRows

    @staticmethod
    def find(words: Sequence[str], data: TagData, bad: BadRows) -> Tagged:
        """Those of what a user names.

        Raises:
            DataError: where there is no such data, or it lacks a column.
        """
        needed = (data.words, data.tags, *data.columns)
        twice = next((c for i, c in enumerate(needed) if c in needed[:i]), None)
        if twice is not None:
            raise DataError(f"the column {twice!r} is named twice among words, tags and columns")
        reading = Reading(data.encoding, needed, tuple(data.names), bad)
        return Tagged(find_rows(words, reading, data.format, "conll"), data, bad)

    def read(self, row: Row) -> dict[str, list[str]]:
        """A row's columns.

        Raises:
            DataError: where it lacks one, has no word, or one is longer than another.
        """
        data = self.data
        found = {name: row.items(name) for name in (data.words, data.tags, *data.columns)}
        n = len(found[data.words])
        if n == 0:
            raise DataError("the sentence is empty")
        for name, values in found.items():
            if len(values) != n:
                raise DataError(f"the column {name!r} has {len(values)} values for {n} words")
        return found

    def sentences(self) -> Iterator[dict[str, list[str]]]:
        """Each sentence's columns."""
        return usable(self.rows, self.read, self.bad)

    def examples(self, model: Tagger, directory: Path | None) -> Examples:
        """All of them, encoded as a model reads them, and the sequence ``tags``.

        Raises:
            DataError: where more rows are bad than allowed: those with an unknown tag too.
        """

        def encode(row: Row) -> dict[str, NDArray[Any] | float]:
            found = self.read(row)
            columns = {name: found[name] for name in self.data.columns}
            encoded = model.encode(found[self.data.words], columns)
            narrow = {name: ids.astype(np.uint32) for name, ids in encoded.items()}
            tags = [model.tags.encode(tag) for tag in found[self.data.tags]]
            return {**narrow, "tags": np.array(tags, np.uint32)}

        return encode_rows(self.rows, encode, directory, self.bad)


@dataclass(frozen=True, eq=False)
class Column:
    """One column of some of the sentences; read anew for each ``for`` loop.

    Attributes:
        tagged: The sentences.
        name: The column.
        chosen: Which sentences are meant, bool ``[n]``.
    """

    tagged: Tagged
    name: str
    chosen: NDArray[np.bool_]

    def __iter__(self) -> Iterator[list[str]]:
        """The values of each sentence."""
        for found, taken in zip(self.tagged.sentences(), self.chosen, strict=False):
            if taken:
                yield found[self.name]


def tag_names(found: set[str]) -> Labels:
    """All tags, and in BIO both tags of each type of chunk, as one of them may be rare.

    Raises:
        DataError: where there are fewer than two.
    """
    if not is_bio(sorted(found)):
        return Labels.build(found)
    types = {tag[2:] for tag in found if tag != "O"}
    return Labels.build({"O", *(f"{mark}-{kind}" for kind in types for mark in "BI")})


def usual_tags(
    sentences: Iterable[tuple[NDArray[Any], NDArray[Any]]], n_words: int, n_tags: int
) -> list[int]:
    """Each word's most frequent tag; of words that do not occur, the most frequent tag of all.

    Args:
        sentences: Ids of words ``[T]`` and tags ``[T]`` of each sentence of the training data. Of
            these one at a time is in memory, and the number of each pair of a word and a tag.
        n_words: How many ids of words there are.
        n_tags: How many tags there are.
    """
    counts: Counter[int] = Counter()
    of_all = np.zeros(n_tags, np.int64)
    for words, tags in sentences:
        counts.update((words.astype(np.int64) * n_tags + tags).tolist())
        of_all += np.bincount(tags.astype(np.int64), minlength=n_tags)
    usual = [int(of_all.argmax())] * n_words
    # The most frequent pair of each word is written last, the smaller tag among equals.
    for pair, _ in sorted(counts.items(), key=lambda item: (item[1], -item[0])):
        usual[pair // n_tags] = pair % n_tags
    return usual


def sentence_of(line: str, model: Tagger) -> tuple[list[str], dict[str, list[str]]]:
    """The words and further columns of a line to predict for.

    Words that spaces separate; where the model reads further columns, or the line begins with
    ``{``, a JSON object of lists, ``words`` and the columns by their names.

    Raises:
        DataError: where the line holds no such thing.
    """
    if not model.inputs.columns and not line.lstrip().startswith("{"):
        return line.split(), {}
    names = ("words", *model.inputs.columns)
    try:
        found = json.loads(line)
    except ValueError as error:
        raise DataError(f"the line is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise DataError(f"the line is no JSON object with the lists {', '.join(names)}")
    row = Row("", 0, cast("dict[str, Any]", found))
    words, *columns = (row.items(name) for name in names)
    return words, dict(zip(model.inputs.columns, columns, strict=True))
