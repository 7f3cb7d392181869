"""A text as a language model reads it: what all instruments that look at text begin with.

A token is shown as the piece of text that it stands for; the pieces joined are the text.  What a
text has that the model's vocabulary has not is an error that says where it stands, or, where the
vocabulary has "<unk>", is marked, counted and its first place told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.data import pieces as cutting
from unrolled.data.pieces import UNK
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError
from unrolled.models.language_model import LanguageModel

_SURROGATE = re.compile("[\ud800-\udfff]")
_NAMED = 5


@dataclass(frozen=True, eq=False)
class TextSample:
    """A text and its tokens.

    Attributes:
        text: The text that was taken; its characters that no UTF-8 can hold are U+FFFD.
        tokens: The ids, int64 ``[T]`` on the CPU.
        pieces: What each token stands for, T strings that joined give the text. A byte that only
            begins a character is the empty string, the character stands at its last byte.
        places: The character of the text that each token ends in, int64 ``[T]``.
        unknown: Which tokens are "<unk>", bool ``[T]``; their pieces are as the text has them.
        note: How many these are and where the first stands; empty where there are none.
        before: What the model reads before the text, int64 ``[1]`` or ``[0]``: "<eos>", as before
            every document that it was trained on, where the vocabulary has that.
    """

    text: str
    tokens: Tensor
    pieces: tuple[str, ...]
    places: Tensor
    unknown: Tensor
    note: str
    before: Tensor

    @staticmethod
    def of(model: nn.Module, text: str, limit: int | None = None, least: int = 1) -> TextSample:
        """The tokens of a text.

        Args:
            model: A language model.
            text: Any text.
            limit: Take so many tokens at most, from the beginning; all by default.
            least: How many tokens there have to be.

        Raises:
            TypeError: where the model is none that reads text.
            ValueError: where ``limit`` or ``least`` is below 1, or ``least`` above ``limit``.
            DataError: where the text is empty, is shorter than ``least``, or holds what the
                vocabulary doesn't know and has no "<unk>" for.
        """
        if not isinstance(model, LanguageModel):
            raise TypeError(
                f"text is read by a LanguageModel, this is a {type(model).__name__}: give the "
                "tensor that the model is called with instead of a text"
            )
        if least < 1 or (limit is not None and limit < least):
            raise ValueError(f"expected 1 <= least <= limit, got least {least} and limit {limit}")
        if not text:
            raise DataError("the text is empty: there is nothing to look at")
        vocabulary = model.vocabulary
        # No token is shorter than a byte, and none of these kinds is cut by what comes later.
        taken = text[:limit] if vocabulary.kind in ("char", "byte") else text
        pieces = _pieces(vocabulary, taken, limit)[:limit]
        unit = vocabulary.unit
        if len(pieces) < least:
            raise DataError(
                f"the text has {len(pieces)} {unit}{'' if len(pieces) == 1 else 's'}, fewer than "
                f"the {least} that were asked for: give a longer text or ask for fewer"
            )
        ids = _ids(vocabulary, taken, pieces)
        shown = tuple(_SURROGATE.sub("\ufffd", piece) for piece in pieces)
        lengths = np.array([len(piece) for piece in shown])
        places = lengths.cumsum() - np.minimum(lengths, 1)
        unknown = ids == (-1 if vocabulary.unk is None else vocabulary.unk)
        eos = vocabulary.eos
        return TextSample(
            "".join(shown),
            torch.from_numpy(ids),
            shown,
            torch.from_numpy(np.minimum(places, lengths.sum() - 1)),
            torch.from_numpy(unknown),
            _note(vocabulary, taken, pieces, unknown),
            torch.tensor([] if eos is None else [eos], dtype=torch.int64),
        )

    def __len__(self) -> int:
        """How many tokens there are."""
        return len(self.pieces)

    @property
    def fed(self) -> Tensor:
        """What the model is fed, int64 ``[S + T, 1]``: the S tokens before the text, and it."""
        return torch.cat([self.before, self.tokens]).unsqueeze(1)


def _pieces(vocabulary: Vocabulary, text: str, limit: int | None) -> list[str]:
    """What each token of the text stands for."""
    if vocabulary.kind == "char":
        return list(text)
    if vocabulary.kind == "word":
        return cutting.words(text)
    if vocabulary.kind == "byte":
        decoder = vocabulary.decoder()
        found = [decoder.decode(byte) for byte in _bytes(text)[:limit]]
        found[-1] += decoder.finish()
        return found
    items = cutting.items(text)
    # One space between two, as the vocabulary writes them.
    spaced = ["\n" not in pair for pair in zip(["\n", *items], items, strict=False)]
    return [" " * space + item for space, item in zip(spaced, items, strict=True)]


def _bytes(text: str) -> bytes:
    """The text in UTF-8; what came from bytes that are none are these bytes again."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise DataError(
            f"the text holds {text[error.start]!r} ({_where(text, error.start)}), half of a "
            "character: leave it out"
        ) from error


def _ids(vocabulary: Vocabulary, text: str, pieces: Sequence[str]) -> NDArray[np.int64]:
    if vocabulary.kind == "byte":
        return np.frombuffer(_bytes(text), np.uint8)[: len(pieces)].astype(np.int64)
    keys = _keys(vocabulary, pieces)
    if vocabulary.unk is None:
        _check_known(vocabulary, text, keys)
    return vocabulary.encode_items(keys).astype(np.int64)


def _keys(vocabulary: Vocabulary, pieces: Sequence[str]) -> Sequence[str]:
    """What the vocabulary looks up: items without the space between them."""
    spaced = vocabulary.kind == "item"
    return [piece.removeprefix(" ") for piece in pieces] if spaced else pieces


def _begins(text: str, keys: Sequence[str]) -> Iterator[int]:
    """The character of the text that each begins at."""
    at = 0
    for key in keys:
        at = text.index(key, at)
        yield at
        at += len(key)


def _note(
    vocabulary: Vocabulary, text: str, pieces: Sequence[str], unknown: NDArray[np.bool_]
) -> str:
    count = int(unknown.sum())
    if not count:
        return ""
    keys = _keys(vocabulary, pieces)
    first = int(unknown.argmax())
    at = next(islice(_begins(text, keys), first, None))
    n = len(pieces)
    return (
        f"the model does not know {count:,} of the {n:,} {vocabulary.unit}{'' if n == 1 else 's'}, "
        f"and reads {UNK} for each: the first is {keys[first]!r} ({_where(text, at)})"
    )


def _check_known(vocabulary: Vocabulary, text: str, keys: Sequence[str]) -> None:
    known = {t for i, t in enumerate(vocabulary.tokens) if i != vocabulary.eos}
    first: dict[str, int] = {}
    for key, at in zip(keys, _begins(text, keys), strict=True):
        if key not in known:
            first.setdefault(key, at)
    if not first:
        return
    named = [f"{key!r} ({_where(text, at)})" for key, at in list(first.items())[:_NAMED]]
    more = f" and {len(first) - _NAMED} more" if len(first) > _NAMED else ""
    raise DataError(
        f"the vocabulary doesn't know {', '.join(named)}{more}, and has no {UNK} to stand for it: "
        "leave it out of the text, or look at a model that was trained with it"
    )


def _where(text: str, at: int) -> str:
    """The place of a character, lines and columns counted from 1."""
    begin = text.rfind("\n", 0, at) + 1
    return f"line {text.count(chr(10), 0, at) + 1}, column {at - begin + 1}"
