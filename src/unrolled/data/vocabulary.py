"""Vocabularies: text to token ids and back, by characters, bytes, words or items.

This is own code, not the ``tokenizers`` package, because the kinds here are table lookups: a
character or byte vocabulary is one numpy gather (a hundred megabytes in under a second) where a
general tokenizer builds an object for each token, and the whole thing is saved as one readable JSON
file. Subwords (BPE, unigram), whose training is real work, are to come from that package.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from unrolled.data import pieces
from unrolled.data.decoder import Decoder
from unrolled.data.pieces import CODE_POINTS, UNK
from unrolled.errors import DataError

Kind = Literal["char", "byte", "word", "item"]
Ids = NDArray[np.unsignedinteger[Any]]

EOS = "<eos>"

_BYTE_TOKENS = tuple(f"<0x{byte:02X}>" for byte in range(256))
_MISSING = np.uint32(0xFFFFFFFF)
_CUTS: Mapping[Kind, Callable[[str], list[str]]] = {"word": pieces.words, "item": pieces.items}


@dataclass(frozen=True)
class VocabularyConfig:
    """How to build a vocabulary from a corpus.

    Attributes:
        kind: What a token is: a character, a byte of UTF-8, a word, or an item, which is what
            stands between two spaces.
        max_size: Keep at most so many tokens, the special ones included, the most frequent first.
        min_count: Keep only tokens that occur at least so often.
        unk: Have a token "<unk>" for what the vocabulary doesn't know (bytes need none).
        eos: Have a token "<eos>" that ends each document.
    """

    kind: Kind = "char"
    max_size: int | None = None
    min_count: int = 1
    unk: bool = True
    eos: bool = True

    def build(self, texts: Iterable[str]) -> Vocabulary:
        """The vocabulary of ``texts``, which are the pieces of a corpus, cut after line ends."""
        return Vocabulary.build(
            texts, self.kind, self.max_size, self.min_count, unk=self.unk, eos=self.eos
        )


@dataclass(frozen=True)
class Vocabulary:
    """The tokens a model knows, in the order of their ids.

    Attributes:
        kind: What a token is: a character, a byte of UTF-8, a word, or an item, which is what
            stands between two spaces.
        tokens: The tokens; those of a corpus by falling count (ties in the tokens' order), then the
            special ones.
        unk: The id of "<unk>", or None where an unknown token is an error.
        eos: The id of "<eos>", which stands before and after each document, or None.
    """

    kind: Kind
    tokens: tuple[str, ...]
    unk: int | None = None
    eos: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise DataError(f"a vocabulary's kind is char, byte, word or item, not {self.kind!r}")
        if len(set(self.tokens)) != len(self.tokens):
            twice = next(t for t, count in Counter(self.tokens).items() if count > 1)
            raise DataError(f"the vocabulary has the token {twice!r} twice")
        for name, index in (("unk", self.unk), ("eos", self.eos)):
            if index is not None and not 0 <= index < len(self.tokens):
                raise DataError(
                    f"the vocabulary's {name} is token {index}, but it has {len(self.tokens)}"
                )
        if self.unk is not None and self.unk == self.eos:
            raise DataError("the vocabulary's unk and eos are the same token")
        if self.kind == "byte" and self.tokens[:256] != _BYTE_TOKENS:
            raise DataError("a byte vocabulary's first 256 tokens are the bytes in order")
        if self.kind == "char":
            long = [t for i, t in enumerate(self.tokens) if not self._special(i) and len(t) != 1]
            if long:
                raise DataError(f"a character vocabulary's tokens have length 1, not {long[0]!r}")

    @staticmethod
    def build(
        texts: Iterable[str],
        kind: Kind,
        max_size: int | None = None,
        min_count: int = 1,
        *,
        unk: bool = True,
        eos: bool = True,
    ) -> Vocabulary:
        """The vocabulary of a corpus.

        Args:
            texts: The corpus in pieces; for words each piece but the last ends after a line end.
            kind: What a token is. The byte vocabulary is the same for each corpus, has no unknown
                tokens, and takes no ``max_size`` or ``min_count``.
            max_size: Keep at most so many tokens, the special ones included.
            min_count: Keep only tokens that occur at least so often.
            unk: Whether to have "<unk>".
            eos: Whether to have "<eos>".

        Raises:
            DataError: where the corpus holds no token, or none is left.
        """
        if kind == "byte":
            return Vocabulary("byte", _BYTE_TOKENS + (EOS,) * eos, None, 256 if eos else None)
        if kind == "char":
            counts = pieces.count_characters(texts)
        else:
            counts = pieces.count(piece for text in texts for piece in _CUTS[kind](text))
        return Vocabulary._of(kind, counts, max_size, min_count, unk, eos)

    @staticmethod
    def build_items(
        items: Iterable[str],
        max_size: int | None = None,
        min_count: int = 1,
        *,
        unk: bool = True,
        eos: bool = True,
    ) -> Vocabulary:
        """The vocabulary of items that come one by one, such as the words of a tagged sentence.

        An item may have spaces in it. Arguments and errors are those of ``build``.
        """
        return Vocabulary._of("item", pieces.count(items), max_size, min_count, unk, eos)

    @staticmethod
    def _of(
        kind: Kind,
        counts: Mapping[str, int],
        max_size: int | None,
        min_count: int,
        unk: bool,
        eos: bool,
    ) -> Vocabulary:
        special = (EOS,) * eos + (UNK,) * unk
        if not counts:
            raise DataError("the corpus is empty: there is nothing to build a vocabulary from")
        ranked = sorted(
            (token for token, count in counts.items() if count >= min_count),
            key=lambda token: (-counts[token], token),
        )
        if max_size is not None:
            ranked = ranked[: max(0, max_size - len(special))]
        if not ranked:
            raise DataError(
                f"no token of the corpus is left with min_count {min_count} and max_size "
                f"{max_size}: lower the one or raise the other"
            )
        tokens = (*ranked, *special)
        return Vocabulary(
            kind,
            tokens,
            tokens.index(UNK, len(ranked)) if unk else None,
            tokens.index(EOS, len(ranked)) if eos else None,
        )

    def __len__(self) -> int:
        """The number of tokens, the special ones included."""
        return len(self.tokens)

    @property
    def unit(self) -> str:
        """What a token is, in a word."""
        return {"char": "character", "byte": "byte", "word": "word", "item": "token"}[self.kind]

    @property
    def dtype(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The narrowest of uint16 and uint32 that holds every id."""
        return np.dtype(np.uint16 if len(self) <= 1 << 16 else np.uint32)

    def encode(self, text: str) -> Ids:
        """The ids of ``text``'s tokens, uint16 or uint32, without "<eos>".

        Raises:
            DataError: where a token is unknown and there is no "<unk>".
        """
        if self.kind == "byte":
            return np.frombuffer(text.encode("utf-8", "surrogateescape"), np.uint8).astype(
                self.dtype
            )
        if self.kind == "char":
            return self._known(self._table[pieces.code_points(text)], lambda: self.unknown(text))
        return self.encode_items(_CUTS[self.kind](text))

    def encode_items(self, items: Sequence[str]) -> Ids:
        """The ids of tokens that are given one by one, uint16 or uint32.

        Raises:
            DataError: where a token is unknown and there is no "<unk>".
        """
        index, missing = self._index, int(_MISSING)
        ids = np.array([index.get(item, missing) for item in items], np.uint32)
        return self._known(ids, lambda: [i for i in dict.fromkeys(items) if i not in index])

    def _known(self, ids: NDArray[np.uint32], unknown: Callable[[], list[str]]) -> Ids:
        missing = ids == _MISSING
        if missing.any():
            if self.unk is None:
                raise DataError(
                    f"the vocabulary doesn't know {_listed(unknown())} and has no {UNK} "
                    f"to stand for it: leave it out, or train with the {UNK} token"
                )
            ids[missing] = self.unk
        return ids.astype(self.dtype)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ``ids``; special tokens are written out as "<eos>" and "<unk>".

        Exact for what ``encode`` gave without an unknown token, but for the space between items,
        which is a single one. Bytes that are no UTF-8 become U+FFFD.
        """
        decoder = self.decoder()
        return "".join([decoder.decode(index) for index in ids]) + decoder.finish()

    def decoder(self) -> Decoder:
        """A decoder for ids that come one at a time."""
        spaced = self.kind == "item"
        return Decoder(self.tokens, n_bytes=256 if self.kind == "byte" else 0, spaced=spaced)

    def unknown(self, text: str) -> list[str]:
        """The characters, words or items of ``text`` without a token of their own, each once."""
        if self.kind == "byte":
            return []
        cut: Sequence[str] = text if self.kind == "char" else _CUTS[self.kind](text)
        known = self._index
        return [piece for piece in dict.fromkeys(cut) if piece not in known]

    def to_dict(self) -> dict[str, object]:
        """The vocabulary as plain values for JSON."""
        return {
            "kind": self.kind,
            "tokens": list(self.tokens),
            "unk": self.unk,
            "eos": self.eos,
        }

    @staticmethod
    def from_dict(values: object) -> Vocabulary:
        """The vocabulary that ``to_dict`` gave.

        Raises:
            DataError: where ``values`` are not of that form.
        """
        if not isinstance(values, Mapping):
            raise DataError("a vocabulary is an object with kind, tokens, unk and eos")
        fields = cast("Mapping[str, object]", values)
        if set(fields) != {"kind", "tokens", "unk", "eos"}:
            raise DataError(f"a vocabulary has kind, tokens, unk and eos, not {sorted(fields)}")
        tokens, unk, eos = fields["tokens"], fields["unk"], fields["eos"]
        if not isinstance(tokens, list) or not tokens:
            raise DataError("a vocabulary's tokens are a list of strings")
        items = cast("list[object]", tokens)
        if not all(isinstance(token, str) for token in items):
            raise DataError("a vocabulary's tokens are a list of strings")
        for index in (unk, eos):
            if index is not None and type(index) is not int:
                raise DataError(f"a vocabulary's unk and eos are numbers or null, not {index!r}")
        return Vocabulary(
            cast("Kind", fields["kind"]),
            tuple(cast("list[str]", items)),
            cast("int | None", unk),
            cast("int | None", eos),
        )

    def _special(self, index: int) -> bool:
        return index in (self.unk, self.eos)

    @cached_property
    def _index(self) -> dict[str, int]:
        """Ids by token, the special ones left out: no text may spell one."""
        return {t: i for i, t in enumerate(self.tokens) if not self._special(i)}

    @cached_property
    def _table(self) -> NDArray[np.uint32]:
        """Ids by code point, for a character vocabulary."""
        table = np.full(CODE_POINTS, _MISSING, np.uint32)
        for token, index in self._index.items():
            table[ord(token)] = index
        return table


def _listed(items: Sequence[str], limit: int = 8) -> str:
    shown = ", ".join(repr(item) for item in items[:limit])
    return shown if len(items) <= limit else f"{shown} and {len(items) - limit} more"
