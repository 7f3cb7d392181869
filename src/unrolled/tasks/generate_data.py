"""What a generator learns from: texts or rolls with a label, and which of them are held out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.bad_rows import BadRows, usable
from unrolled.data.corpus import Source, find
from unrolled.data.encode import encode_rows
from unrolled.data.examples import Examples
from unrolled.data.readers.reading import Reading
from unrolled.data.rolls import PARTS, Part, checked, is_roll, read_rolls
from unrolled.data.row import Row
from unrolled.data.rows import Format, Rows, find_rows
from unrolled.data.split import held_out
from unrolled.data.vocabulary import Kind, Vocabulary
from unrolled.errors import DataError

SEQUENCE = "sequence"
LABEL = "label"
_PART = "part"
_TRAIN = PARTS.index("train")


@dataclass(frozen=True)
class GenerateData:
    """How data is read: texts or piano rolls, each with a label.

    Files of rolls end in .mat, .npz, .npy, .mid or .midi. A .mat or .npz file is named after its
    label and says which sequences are for training, validation and test; of the others each is one
    sequence, whose label is its folder's name. All other files are texts: tables with two columns,
    a file a label with a text in each line, or a folder a label with a text in each file.

    Attributes:
        format: How texts are written; null has the files' names say so.
        pattern: Which file names count inside directories, such as *.txt.
        encoding: How texts are encoded.
        text: The column of the text.
        label: The column of the label.
        tokens: What a step of a text is: a character, a byte or a word.
        max_tokens: Keep so many tokens in the vocabulary, the most frequent.
        min_count: Keep only tokens that occur at least so often in the training part.
        frames_per_quarter: Frames in a quarter note, where MIDI files are read.
        max_length: A sequence of more steps is a bad row; null is no limit.
        window: Learn from parts of at most so many steps; null learns from whole sequences.
        validation: A file of its own for validation; null takes it from the data.
        test: A file of its own for the test; null takes it from the data.
        validation_fraction: The share of the sequences for validation, where no file says it.
        test_fraction: The share of the sequences for the test, where no file says it.
        skip_bad: Skip so many rows that can't be read; one more is an error.
    """

    format: Format | None = None
    pattern: str = "*"
    encoding: str = "utf-8"
    text: str = "text"
    label: str = "label"
    tokens: Kind = "char"
    max_tokens: int | None = None
    min_count: int = 1
    frames_per_quarter: float = 2.0
    max_length: int | None = None
    window: int | None = None
    validation: str | None = None
    test: str | None = None
    validation_fraction: float = 0.1
    test_fraction: float = 0.1
    skip_bad: int = 0


@dataclass(frozen=True)
class Texts:
    """Rows of a label and a text."""

    rows: Rows
    data: GenerateData

    def __iter__(self) -> Iterator[Row]:
        """The rows by the columns' own names."""
        return usable(self.rows, self._named, self.rows.reading.bad)

    def _named(self, row: Row) -> Row:
        values = {LABEL: row.label(self.data.label), SEQUENCE: row.text(self.data.text)}
        return Row(row.file, row.line, values)


@dataclass(frozen=True)
class Rolls:
    """Rows of a label, frames, and the part of the data that the file says."""

    sources: tuple[Source, ...]
    data: GenerateData
    bad: BadRows

    def __iter__(self) -> Iterator[Row]:
        """The rows; their line is the sequence's place in its file."""
        for source in self.sources:
            yield from usable(self._of_file(source), self._checked, self.bad)

    def _of_file(self, source: Source) -> Iterator[Row]:
        path = Path(source.path)
        collected = path.suffix.lower() in (".mat", ".npz")
        label = path.stem if collected else path.resolve().parent.name
        try:
            for line, roll in enumerate(read_rolls(path, self.data.frames_per_quarter), 1):
                values = {LABEL: label, SEQUENCE: roll.frames, _PART: roll.part}
                where = f"sequence {roll.number} of {roll.part}" if roll.part else ""
                yield Row(source.name, line, {**values, "where": where})
        except DataError as error:
            if collected:
                raise
            self.bad.add(source.name, 1, str(error))

    def _checked(self, row: Row) -> Row:
        try:
            frames = checked(row.values[SEQUENCE])
        except DataError as error:
            where = row.values["where"]
            raise DataError(f"{where}: {error}" if where else str(error)) from None
        return Row(row.file, row.line, {**row.values, SEQUENCE: frames})


Found = Texts | Rolls


def find_sequences(words: Sequence[str], data: GenerateData, bad: BadRows) -> Found:
    """The rows of what a user names; they are read anew for each ``for`` loop.

    Raises:
        DataError: where there is no such data, or it is both of texts and of rolls.
    """
    sources = find(list(words), data.pattern)
    rolls = [source for source in sources if is_roll(Path(source.name))]
    if len(rolls) == len(sources):
        return Rolls(tuple(sources), data, bad)
    if rolls:
        other = next(source for source in sources if source not in rolls)
        raise DataError(
            f"{rolls[0].name} is a file of rolls and {other.name} is not: give files of one sort, "
            "or choose among a folder's files with --pattern"
        )
    reading = Reading(data.encoding, (data.text, data.label), bad=bad)
    rows = find_rows(words, reading, data.format, text="class-files", pattern=data.pattern)
    return Texts(rows, data)


@dataclass(frozen=True, eq=False)
class Encoding:
    """From rows to numbers.

    Attributes:
        labels: The labels, in the order of their places.
        vocabulary: The tokens; None for rolls.
        keys: How many keys a frame has; 0 for texts.
        max_length: The longest sequence that is taken.
    """

    labels: tuple[str, ...]
    vocabulary: Vocabulary | None
    keys: int
    max_length: int | None

    def encode(self, row: Row, part: int) -> Mapping[str, NDArray[Any] | int]:
        """A row's columns.

        Raises:
            DataError: where the label is unknown, the sequence too long or not of this kind.
        """
        label, sequence = row.values[LABEL], row.values[SEQUENCE]
        if label not in self.labels:
            raise DataError(
                f"the label {label!r} is not among those of the training part: "
                f"{', '.join(self.labels)}"
            )
        if isinstance(sequence, str) != (self.vocabulary is not None):
            learned, this = ("rolls", "a text") if self.vocabulary is None else ("texts", "a roll")
            raise DataError(f"the model's sequences are {learned}, and this is {this}")
        if self.vocabulary is not None:
            steps = self.vocabulary.encode(sequence)
        else:
            steps = sequence
            if steps.shape[1] != self.keys:
                raise DataError(f"the frames have {steps.shape[1]} keys, not {self.keys}")
        if self.max_length is not None and len(steps) > self.max_length:
            raise DataError(f"the sequence has {len(steps):,} steps, more than {self.max_length:,}")
        if self.vocabulary is not None:
            steps = np.append(steps, np.array(self.vocabulary.eos, steps.dtype))
        return {SEQUENCE: steps, LABEL: self.labels.index(label), _PART: part}


@dataclass(frozen=True, eq=False)
class Parts:
    """The examples of each part; None where there is none."""

    encoding: Encoding
    train: Examples
    valid: Examples | None
    test: Examples | None


def read_parts(
    words: Sequence[str], data: GenerateData, seed: int, directory: Path, bad: BadRows
) -> Parts:
    """The encoded examples of all parts.

    Raises:
        DataError: where the data can't be read, or a part would be empty.
    """
    rows = find_sequences(words, data, bad)
    assigned = _assigned(rows, data, seed)
    encoding = _encoding(rows, assigned, data)
    whole = encode_rows(rows, lambda row: encoding.encode(row, assigned.of(row)), directory, bad)
    found = {name: _chosen(whole, i) for i, name in enumerate(PARTS)}
    own: dict[Part, str | None] = {"valid": data.validation, "test": data.test}
    for name, word in own.items():
        if word is not None:
            found[name] = read_part([word], data, encoding, name, directory / name, bad)
    train = found["train"]
    if train is None:
        raise DataError("there is no sequence for training: all are held out or bad")
    return Parts(encoding, train, found["valid"], found["test"])


def read_part(
    words: Sequence[str],
    data: GenerateData,
    encoding: Encoding,
    part: Part,
    directory: Path | None,
    bad: BadRows,
) -> Examples:
    """The examples of data to judge by: those of this part, where files say so, else all.

    Raises:
        DataError: where there is none, or more are bad than allowed.
    """
    rows = find_sequences(words, data, bad)
    if all(row.values.get(_PART) not in (None, part) for row in rows):
        raise DataError(f"{', '.join(words)} has no sequence of the part {part!r}")
    wanted = (row for row in rows if row.values.get(_PART) in (None, part))
    return encode_rows(wanted, partial(encoding.encode, part=PARTS.index(part)), directory, bad)


@dataclass(frozen=True)
class _Assigned:
    """Which part each row is in, by file and line, and the labels of the training part."""

    parts: Mapping[tuple[str, int], int]
    labels: tuple[str, ...]

    def of(self, row: Row) -> int:
        return self.parts[row.file, row.line]


def _assigned(rows: Found, data: GenerateData, seed: int) -> _Assigned:
    """As the files say, else drawn, with all labels in proportion."""
    places: list[tuple[str, int]] = []
    labels: list[str] = []
    said: list[Part | None] = []
    for row in rows:
        places.append((row.file, row.line))
        labels.append(row.values[LABEL])
        said.append(row.values.get(_PART))
    if not places:
        raise DataError("there is no sequence to learn from")
    if not any(said):
        numbers = _drawn(labels, data, seed)
    else:
        numbers = [-1 if part is None else PARTS.index(part) for part in said]
        if -1 in numbers:
            raise DataError(
                f"some files say which sequences are for training, and "
                f"{places[numbers.index(-1)][0]} does not: train on files of one sort"
            )
    learned = {label for label, part in zip(labels, numbers, strict=True) if part == _TRAIN}
    if not learned:
        raise DataError("there is no sequence for training: all are held out or bad")
    return _Assigned(dict(zip(places, numbers, strict=True)), tuple(sorted(learned)))


def _drawn(labels: Sequence[str], data: GenerateData, seed: int) -> list[int]:
    """A part for each row; no label is held out entirely."""
    numbers = np.full(len(labels), _TRAIN)
    left = np.arange(len(labels))
    gone = 0.0
    shares: list[tuple[Part, str | None, float]] = [
        ("test", data.test, data.test_fraction),
        ("valid", data.validation, data.validation_fraction),
    ]
    if sum(fraction for _, own, fraction in shares if own is None) >= 1:
        raise DataError("the fractions for validation and test leave nothing to learn from")
    for part, own, fraction in shares:
        if own is not None or fraction == 0:
            continue
        # A share of all, some of which are gone already.
        share = fraction / (1 - gone)
        kept, out = held_out(len(left), share, seed, labels=[labels[i] for i in left.tolist()])
        numbers[left[out]] = PARTS.index(part)
        left, gone = left[kept], gone + fraction
    return numbers.tolist()


def _encoding(rows: Found, assigned: _Assigned, data: GenerateData) -> Encoding:
    """The tokens, or the number of keys, of the training part."""
    learned = (row.values[SEQUENCE] for row in rows if assigned.of(row) == _TRAIN)
    if isinstance(rows, Rolls):
        return Encoding(assigned.labels, None, next(learned).shape[1], data.max_length)
    unk = data.tokens != "byte"
    vocabulary = Vocabulary.build(learned, data.tokens, data.max_tokens, data.min_count, unk=unk)
    return Encoding(assigned.labels, vocabulary, 0, data.max_length)


def _chosen(examples: Examples, part: int) -> Examples | None:
    places = np.flatnonzero(examples.values[_PART] == part)
    return examples.part(places) if len(places) else None
