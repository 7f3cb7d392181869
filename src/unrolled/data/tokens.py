"""Token files: a corpus encoded once, and mapped into memory for each run that reads it.

Two files in a cache directory: ``<key>.tokens`` holds the ids, little-endian and nothing else;
``<key>.json`` the vocabulary and the number of tokens. The key is a hash of what the ids depend on.
The JSON file is written last, so that it vouches for the other.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unrolled.data.bad_rows import BadRows
from unrolled.data.corpus import Source, read, read_source
from unrolled.data.files import staged
from unrolled.data.lines import readable
from unrolled.data.vocabulary import Ids, Vocabulary, VocabularyConfig
from unrolled.errors import DataError

_VERSION = 1
_BLOCK = 1 << 20


@dataclass(frozen=True)
class TokenFile:
    """An encoded corpus: where there is "<eos>", it stands before and after each document.

    Attributes:
        path: The file of ids.
        vocabulary: What the ids mean.
        length: The number of ids.
        unknown: How many of them are "<unk>".
        fingerprint: The same for the same corpus with the same vocabulary, and only then.
        skipped: What to say of the lines that were skipped.
    """

    path: Path
    vocabulary: Vocabulary
    length: int
    unknown: int
    fingerprint: str
    skipped: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.length

    @property
    def tokens(self) -> Ids:
        """All ids ``[length]``, uint16 or uint32, read from the disk as they are used."""
        return np.memmap(self.path, self.vocabulary.dtype.newbyteorder("<"), "r", shape=self.length)

    def split(self, validation: float, test: float = 0.0) -> tuple[Ids, Ids, Ids]:
        """The corpus' first part for training, then one for validation, its end for the test.

        Args:
            validation: The share of the corpus that validates.
            test: The share for the test.

        Raises:
            DataError: where a share is below 0, or nothing is left for training.
        """
        if min(validation, test) < 0 or validation + test >= 1:
            raise DataError(
                "the shares for validation and test are at least 0, and together below 1, not "
                f"{validation} and {test}"
            )
        end = self.length - round(self.length * test)
        cut = end - round(self.length * validation)
        return self.tokens[:cut], self.tokens[cut:end], self.tokens[end:]


def frequencies(ids: Ids, size: int) -> NDArray[np.int64]:
    """How often each of ``size`` tokens occurs; in blocks, since NumPy counts a wider copy."""
    counts = np.zeros(size, np.int64)
    for begin in range(0, len(ids), _BLOCK):
        counts += np.bincount(ids[begin : begin + _BLOCK], minlength=size)
    return counts


def encode_corpus(
    sources: Sequence[Source],
    vocabulary: Vocabulary | VocabularyConfig,
    directory: str | os.PathLike[str],
    encoding: str = "utf-8",
    progress: Callable[[int], None] | None = None,
    bad: BadRows | None = None,
) -> TokenFile:
    """The corpus' token file in ``directory``: the one that is there, or a new one.

    The corpus is read in pieces and is never whole in memory.

    Args:
        sources: The documents.
        vocabulary: One that exists, or how to build it from this corpus.
        directory: Where token files are kept, made if it doesn't exist.
        encoding: How the documents are encoded; a byte vocabulary takes any bytes.
        progress: Called now and then with the number of tokens written so far.
        bad: Where lines that can't be read are counted; as long as it allows none, a document with
            one is an error.

    Raises:
        DataError: where the corpus can't be read, more lines are bad than allowed, it has fewer
            than two different tokens, or the disk is full.
    """
    config = asdict(vocabulary) if isinstance(vocabulary, VocabularyConfig) else None
    settings = config if isinstance(vocabulary, VocabularyConfig) else vocabulary.to_dict()
    binary = vocabulary.kind == "byte"
    skipping = bad if bad is not None and bad.limit and not binary else None
    identities = [source.identity for source in sources]
    limit = [] if skipping is None else [skipping.limit]
    key = _digest([_VERSION, identities, "" if binary else encoding, settings, *limit])[:32]
    ids = Path(directory) / f"{key}.tokens"
    manifest = ids.with_suffix(".json")
    found = _reuse(ids, manifest)
    if found is not None:
        return found

    if isinstance(vocabulary, VocabularyConfig):
        vocabulary = vocabulary.build(
            read(sources, encoding, binary=binary)
            if skipping is None
            else (text for source in sources for text in readable(source, encoding, skipping))
        )
    counts = np.zeros(len(vocabulary), np.int64)
    content = hashlib.sha256()
    # Several runs may encode the same corpus at once; each writes its own file.
    with staged(ids, f"{os.getpid()}.tmp") as file:
        for piece in _pieces(sources, vocabulary, encoding, skipping):
            data = piece.astype(piece.dtype.newbyteorder("<"), copy=False).tobytes()
            file.write(data)
            content.update(data)
            counts += np.bincount(piece, minlength=len(vocabulary))
            if progress is not None:
                progress(int(counts.sum()))
        _check(counts, vocabulary, sources)
    unknown = 0 if vocabulary.unk is None else int(counts[vocabulary.unk])
    fingerprint = _digest([vocabulary.to_dict(), content.hexdigest()])
    skipped = () if skipping is None else tuple(skipping.facts())
    written = TokenFile(ids, vocabulary, int(counts.sum()), unknown, fingerprint, skipped)
    description = {
        "version": _VERSION,
        "length": written.length,
        "unknown": unknown,
        "fingerprint": fingerprint,
        "sources": [source.name for source in sources],
        "skipped": list(skipped),
        "vocabulary": vocabulary.to_dict(),
    }
    with staged(manifest, f"{os.getpid()}.tmp") as file:
        file.write(json.dumps(description, ensure_ascii=False).encode())
    return written


def find_encoded(directory: str | os.PathLike[str], fingerprint: str) -> TokenFile | None:
    """The whole token file in ``directory`` with this fingerprint, or None.

    With it a run goes on although its corpus is gone, as standard input is.
    """
    for manifest in sorted(Path(directory).glob("*.json")):
        found = _reuse(manifest.with_suffix(".tokens"), manifest)
        if found is not None and found.fingerprint == fingerprint:
            return found
    return None


def _pieces(
    sources: Sequence[Source], vocabulary: Vocabulary, encoding: str, skipping: BadRows | None
) -> Iterator[Ids]:
    end: Ids = np.array([] if vocabulary.eos is None else [vocabulary.eos], vocabulary.dtype)
    yield end
    for source in sources:
        texts = (
            read_source(source, encoding, binary=vocabulary.kind == "byte")
            if skipping is None
            else readable(source, encoding, skipping)
        )
        for text in texts:
            yield vocabulary.encode(text)
        yield end


def _check(counts: NDArray[np.int64], vocabulary: Vocabulary, sources: Sequence[Source]) -> None:
    names = ", ".join(source.name for source in sources[:3])
    ordinary = np.flatnonzero(counts)
    ordinary = ordinary[ordinary != vocabulary.eos] if vocabulary.eos is not None else ordinary
    if len(ordinary) == 0:
        raise DataError(f"the corpus is empty: there is no token in {names}")
    if len(ordinary) == 1:
        raise DataError(
            f"the corpus {names} is the token {vocabulary.tokens[ordinary[0]]!r} alone: there is "
            "nothing to learn, give it more text"
        )


def _reuse(ids: Path, manifest: Path) -> TokenFile | None:
    """The token file, where it was written to its end and is as it was."""
    try:
        values: Any = json.loads(manifest.read_text("utf-8"))
        vocabulary = Vocabulary.from_dict(values["vocabulary"])
        found = TokenFile(
            ids,
            vocabulary,
            int(values["length"]),
            int(values["unknown"]),
            values["fingerprint"],
            tuple(values.get("skipped", ())),
        )
        if ids.stat().st_size != found.length * vocabulary.dtype.itemsize:
            return None
    except (OSError, ValueError, KeyError, TypeError, DataError):
        # A cache entry that is missing or damaged is written again.
        return None
    return found


def _digest(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
