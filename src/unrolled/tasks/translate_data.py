"""What an encoder–decoder learns from: pairs of texts, their vocabularies, and the held-out parts.

The data is read three times, so that no more than its encoded form is kept: for its sources, which
decide what is held out; for the vocabularies, which know the training part alone; and for the
tokens. All examples of one source are on one side.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.bad_rows import BadRows, usable
from unrolled.data.encode import encode_rows
from unrolled.data.examples import Examples
from unrolled.data.pieces import words
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row
from unrolled.data.rows import Format, Rows, find_rows
from unrolled.data.split import held_out
from unrolled.data.vocabulary import Kind, Vocabulary
from unrolled.errors import DataError
from unrolled.tasks.parts import check_encoded, shares_of_all

SOURCE, TARGET = "source", "target"
KEY = "source_key"
"""Under what name a number of each source's text stands: the same for the same text alone."""

# The largest share that leaves something.
_MOST = float(np.nextafter(1, 0))


@dataclass(frozen=True)
class TranslateData:
    """How data is read: a table with two columns, or a pair of files with a text in each line.

    Attributes:
        format: How the data is written; null has the files' names say so, and two files whose names
            say nothing are a pair, the sources' first.
        pattern: Which file names count inside directories, such as *.tsv.
        encoding: How text is encoded.
        source: The column of what is read.
        target: The column of what is to be written.
        source_tokens: What a token of the source is: a character, a byte, a word, or an item
            between spaces.
        target_tokens: The same of the target.
        max_tokens: Keep so many tokens in each vocabulary, the most frequent.
        min_count: Keep only tokens that occur at least so often in the training part.
        max_source: A row with a source of more tokens is a bad row; null is no limit. Targets have
            the model's max_length.
        validation: A file, or a pair, of its own for validation; null takes it from the data.
        test: A file, or a pair, of its own for the test; null takes it from the data.
        validation_fraction: The share of the examples for validation, where it is taken from the
            data.
        test_fraction: The share of the examples for the test, where it is taken from the data.
        skip_bad: Skip so many rows that can't be read; one more is an error.
        beam: The hypotheses that the report's search keeps at a time; 1 is greedy search.
    """

    format: Format | None = None
    pattern: str = "*"
    encoding: str = "utf-8"
    source: str = "source"
    target: str = "target"
    source_tokens: Kind = "word"
    target_tokens: Kind = "word"
    max_tokens: int | None = None
    min_count: int = 1
    max_source: int | None = None
    validation: list[str] | str | None = None
    test: list[str] | str | None = None
    validation_fraction: float = 0.05
    test_fraction: float = 0.1
    skip_bad: int = 0
    beam: int = 1


@dataclass(frozen=True)
class Pairs:
    """Rows of a source and a target that can be used; they are read anew each time.

    Attributes:
        rows: What is read.
        data: How it is read.
        kinds: What a token is, of the source and of the target.
        max_target: The most tokens of a target.
        bad: Where bad rows are counted.
    """

    rows: Rows
    data: TranslateData
    kinds: tuple[Kind, Kind]
    max_target: int
    bad: BadRows

    def __iter__(self) -> Iterator[Row]:
        """The rows whose texts are there and not too long.

        Raises:
            DataError: where more rows are bad than allowed.
        """
        return usable(self.rows, self._checked, self.bad)

    def _checked(self, row: Row) -> Row:
        sides = self.data.source, self.data.target
        limits = (self.data.max_source, "max_source"), (self.max_target, "max_length")
        for side, kind, (most, option) in zip(sides, self.kinds, limits, strict=True):
            n = _length(row, side, kind)
            if n == 0:
                raise DataError(f"the {side} is empty: it needs at least one token")
            if most is not None and n > most:
                raise DataError(
                    f"the {side} has {n:,} tokens, and {option} is {most:,}: raise it, or shorten "
                    "the text"
                )
        return row

    def keys(self) -> NDArray[np.uint64]:
        """A number for each row's source, the same for the same source: uint64 ``[n]``."""
        return np.fromiter((self._key(row) for row in self), np.uint64)

    def _key(self, row: Row) -> np.uint64:
        side, kind = self.data.source, self.kinds[0]
        text = "\n".join(row.items(side)) if kind == "item" else row.text(side)
        digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8)
        return np.uint64(int.from_bytes(digest.digest(), "big"))

    def vocabularies(self, training: NDArray[np.int64]) -> tuple[Vocabulary, Vocabulary]:
        """Those of the rows at these places."""
        source, target = (
            self._vocabulary(side, kind, training)
            for side, kind in zip((self.data.source, self.data.target), self.kinds, strict=True)
        )
        return source, target

    def _vocabulary(self, side: str, kind: Kind, training: NDArray[np.int64]) -> Vocabulary:
        chosen = np.zeros(int(training.max()) + 1, np.bool_)
        chosen[training] = True
        rows = (row for row, taken in zip(self, chosen, strict=False) if taken)
        limits = self.data.max_tokens, self.data.min_count
        if kind == "item":
            return Vocabulary.build_items((i for row in rows for i in row.items(side)), *limits)
        return Vocabulary.build((row.text(side) for row in rows), kind, *limits)

    def encoded(self, source: Vocabulary, target: Vocabulary, directory: Path | None) -> Examples:
        """The rows' tokens, uint16 or uint32, and ``KEY``; in memory or in files."""

        def encode(row: Row) -> Mapping[str, NDArray[Any]]:
            return {
                KEY: np.asarray(self._key(row)),
                SOURCE: _ids(row, self.data.source, source),
                TARGET: _ids(row, self.data.target, target),
            }

        return encode_rows(self, encode, directory, self.bad)


def _length(row: Row, side: str, kind: Kind) -> int:
    """The tokens of a text, which are as many in any vocabulary."""
    if kind == "item":
        return len(row.items(side))
    text = row.text(side)
    if kind == "byte":
        return len(text.encode("utf-8", "surrogateescape"))
    return len(text) if kind == "char" else len(words(text))


def _ids(row: Row, side: str, vocabulary: Vocabulary) -> NDArray[Any]:
    if vocabulary.kind == "item":
        return vocabulary.encode_items(row.items(side))
    return vocabulary.encode(row.text(side))


def find_pairs(
    named: Sequence[str] | str, data: TranslateData, kinds: tuple[Kind, Kind], max_target: int
) -> Pairs:
    """The rows that a user names.

    Raises:
        DataError: where there are none, or the columns are missing or stand twice.
    """
    bad = BadRows(data.skip_bad)
    reading = Reading(data.encoding, (data.source, data.target), bad=bad)
    rows = find_rows(named, reading, data.format, "pairs", data.pattern)
    return Pairs(rows, data, kinds, max_target, bad)


@dataclass(frozen=True)
class Parts:
    """What is learned from, and what it is judged by.

    Attributes:
        source: The tokens of the sources of ``training``.
        target: Those of its targets.
        training: Examples with the columns "source" and "target".
        validation: The same; None where nothing is held out for it.
        test: The same.
        facts: Lines that say what was read.
    """

    source: Vocabulary
    target: Vocabulary
    training: Examples
    validation: Examples | None
    test: Examples | None
    facts: tuple[str, ...]


def read_parts(
    named: Sequence[str], data: TranslateData, max_target: int, seed: int, directory: Path | None
) -> Parts:
    """Reads the data, holds parts of it out, and encodes it.

    Args:
        named: The data, as a user names it.
        data: How it is read.
        max_target: The most tokens of a target.
        seed: Where the drawing of the held-out parts starts.
        directory: Where encoded data is kept; None keeps it in memory.

    Raises:
        DataError: where data can't be read, too many rows are bad, or a part would be empty.
    """
    shares = shares_of_all(data)
    kinds = data.source_tokens, data.target_tokens
    pairs = find_pairs(named, data, kinds, max_target)
    keys = pairs.keys()
    training = np.arange(len(keys), dtype=np.int64)
    held: dict[str, NDArray[np.int64]] = {}
    for name, fraction in shares.items():
        if fraction:
            # A share of all examples, also where some were taken already: of whole groups, these
            # may be a few more than their share.
            share = min(fraction * len(keys) / len(training), _MOST)
            stay, out = held_out(len(training), share, seed, groups=keys[training])
            held[name], training = training[out], training[stay]
    source, target = pairs.vocabularies(training)
    whole = pairs.encoded(source, target, directory)
    check_encoded(whole, len(keys))
    parts: dict[str, Examples | None] = {"test": None, "validation": None}
    parts |= {name: whole.part(places) for name, places in held.items()}
    facts = list(pairs.bad.facts())
    for name, given in (("test", data.test), ("validation", data.validation)):
        if given is not None:
            own = find_pairs(given, data, kinds, max_target)
            parts[name] = own.encoded(source, target, directory and directory / name)
            facts += own.bad.facts()
    learned = whole.part(training)
    sizes = [f"{len(learned):,} to learn from"]
    sizes += [f"{len(p):,} for {name}" for name, p in reversed(parts.items()) if p is not None]
    facts = [
        f"pairs: {', '.join(sizes)}",
        f"tokens: {len(source):,} in the source, {len(target):,} in the target",
        *facts,
    ]
    return Parts(source, target, learned, parts["validation"], parts["test"], tuple(facts))
