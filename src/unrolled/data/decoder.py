"""Token ids to text, one at a time: bytes become characters once they are whole."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

from unrolled.errors import DataError


class Decoder:
    """Turns ids that come one at a time into text; keeps the first bytes of a character back.

    Args:
        tokens: The text of each id.
        n_bytes: How many of the first ids are bytes of UTF-8 rather than text: 256 or 0.
        spaced: Whether a space stands between two tokens, unless one of them is a line end.
    """

    def __init__(self, tokens: Sequence[str], n_bytes: int, *, spaced: bool = False) -> None:
        self._tokens = tokens
        self._n_bytes = n_bytes
        self._spaced = spaced
        self._last = "\n"
        self._bytes = codecs.getincrementaldecoder("utf-8")("replace")

    def decode(self, index: int) -> str:
        """The text that is certain with this id: for bytes it may be empty.

        Raises:
            DataError: where there is no such id.
        """
        if not 0 <= index < len(self._tokens):
            raise DataError(f"the vocabulary has {len(self._tokens)} tokens, none with id {index}")
        if index < self._n_bytes:
            return self._bytes.decode(bytes((index,)))
        token = self._tokens[index]
        if self._spaced:
            last, self._last = self._last, token
            return token if "\n" in (last, token) else f" {token}"
        return self.finish() + token

    def finish(self) -> str:
        """What is left: U+FFFD where the last character was cut off."""
        rest = self._bytes.decode(b"", final=True)
        self._bytes.reset()
        return rest
