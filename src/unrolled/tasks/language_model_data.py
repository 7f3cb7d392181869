"""The text of a language model: how it is read, encoded, and divided into parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from unrolled.data.bad_rows import BadRows
from unrolled.data.corpus import STDIN, find
from unrolled.data.tokens import TokenFile, encode_corpus, find_encoded
from unrolled.data.vocabulary import Ids, Vocabulary, VocabularyConfig
from unrolled.data.vocabulary import Kind as TokenKind
from unrolled.errors import DataError, TrainingError
from unrolled.tasks.kind import Cache
from unrolled.tasks.parts import shares_of_all

TEXT = "text"


@dataclass(frozen=True)
class TextConfig:
    """How the text is read.

    Attributes:
        pattern: Which files count in a directory, as in a shell, such as *.txt.
        encoding: How the text is encoded.
        vocabulary_kind: What a token is: a character, a byte of UTF-8, or a word.
        vocabulary_max_size: Keep at most so many tokens, the special ones included, the most
            frequent first.
        vocabulary_min_count: Keep only tokens that occur at least so often.
        vocabulary_unk: Have a token "<unk>" for what the vocabulary doesn't know (bytes need none).
        vocabulary_eos: Have a token "<eos>" that ends each document.
        window: Time steps between two updates; the state is carried on, gradients are not.
        validation: Text of its own that validates; by default it is taken from the text.
        test: Text of its own that the report is made on; by default it is taken from the text.
        validation_fraction: How much of the text is kept for validation, from its end, before the
            test part; 0 is none.
        test_fraction: How much of the text, its end, the report is made on; where there is no test
            part it is made on validation, which chose the step that is kept.
        skip_bad: So many lines that can't be read, for bytes of another encoding, are skipped, and
            said; more are an error. A byte vocabulary reads any bytes.
        cache: The directory that keeps the encoded text for other runs too; by default it is in the
            output directory.
    """

    pattern: str = "*"
    encoding: str = "utf-8"
    vocabulary_kind: TokenKind = "char"
    vocabulary_max_size: int | None = None
    vocabulary_min_count: int = 1
    vocabulary_unk: bool = True
    vocabulary_eos: bool = True
    window: int = 64
    validation: str | None = None
    test: str | None = None
    validation_fraction: float = 0.1
    test_fraction: float = 0.0
    skip_bad: int = 0
    cache: str | None = None

    def __post_init__(self) -> None:
        if self.window < 1:
            raise TrainingError(f"window is a number from 1 up, not {self.window}")
        shares_of_all(self)

    @property
    def vocabulary(self) -> VocabularyConfig:
        """How the vocabulary is built."""
        return VocabularyConfig(
            self.vocabulary_kind,
            self.vocabulary_max_size,
            self.vocabulary_min_count,
            self.vocabulary_unk,
            self.vocabulary_eos,
        )


@dataclass(frozen=True, eq=False)
class Texts:
    """A text in its parts, as ids that are mapped from files.

    Attributes:
        whole: The text; its vocabulary is that of all parts.
        training: What is learned from.
        validation: What validates; None where nothing does.
        test: What the report is made on, where there is such a part.
        own: The texts of their own by the part that they are.
    """

    whole: TokenFile
    training: Ids
    validation: Ids | None
    test: Ids | None
    own: dict[str, TokenFile]

    def fingerprint(self) -> dict[str, str]:
        """Those of all that was read."""
        own = {f"{name} part": file.fingerprint for name, file in self.own.items()}
        return {TEXT: self.whole.fingerprint, **own}

    def files(self) -> tuple[Path, ...]:
        """Where the encoded texts are."""
        paths = [file.path for file in (self.whole, *self.own.values())]
        return tuple(p for path in paths for p in (path, path.with_suffix(".json")))

    def facts(self) -> tuple[str, ...]:
        """A line for each skipped line."""
        return tuple(line for f in (self.whole, *self.own.values()) for line in f.skipped)


def read_texts(words: Sequence[str], data: TextConfig, cache: Cache) -> Texts:
    """The encoded text and its parts.

    A run that goes on takes what it has encoded where the text can't be read again: where it was
    standard input, or is gone.

    Raises:
        DataError: where it can't be read.
    """
    directory = Path(data.cache) if data.cache else cache.directory

    def encoded(
        named: Sequence[str], part: str, vocabulary: Vocabulary | VocabularyConfig
    ) -> TokenFile:
        kept = find_encoded(directory, cache.begun.get(part, "")) if cache.begun else None
        if kept is not None and STDIN in named:
            return kept
        try:
            sources = find(named, data.pattern)
        except DataError:
            if kept is None:
                raise
            return kept  # the text is gone; the run has it
        return encode_corpus(
            sources,
            vocabulary,
            directory,
            data.encoding,
            cache.progress,
            BadRows(data.skip_bad),
        )

    whole = encoded(words, TEXT, data.vocabulary)
    own = {
        name: encoded([given], f"{name} part", whole.vocabulary)
        for name, given in (("validation", data.validation), ("test", data.test))
        if given is not None
    }
    shares = shares_of_all(data)
    training, validation, test = whole.split(shares["validation"], shares["test"])
    taken: dict[str, Ids | None] = {
        "validation": validation if shares["validation"] else None,
        "test": test if shares["test"] else None,
        **{name: file.tokens for name, file in own.items()},
    }
    return Texts(whole, training, taken["validation"], taken["test"], own)
