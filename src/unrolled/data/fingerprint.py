"""Fingerprints of a run's data: by part, the same for the same content, and only then.

Content is whatever a part is made of: examples, arrays, vocabularies and other dataclasses, names.
What stands in files that are mapped is read as it is needed, so that it need not fit into memory.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unrolled.data.examples import Examples
from unrolled.data.ragged import Ragged

_BLOCK = 1 << 20


def fingerprint(parts: Mapping[str, object]) -> dict[str, str]:
    """The SHA-256 of each part by its name; parts that are None are left out.

    Args:
        parts: Examples (the rows that are meant, in their order), arrays, dataclasses such as a
            vocabulary, plain values, and mappings and sequences of all these.

    Raises:
        TypeError: where a part holds something else.
    """
    return {name: _digest(content) for name, content in parts.items() if content is not None}


def differing(now: Mapping[str, str], begun: Mapping[str, str]) -> list[str]:
    """The parts that are not what they were, in their order."""
    return [name for name in {**now, **begun} if now.get(name) != begun.get(name)]


def _digest(content: object) -> str:
    digest = hashlib.sha256()
    _feed(digest, content)
    return digest.hexdigest()


def _feed(digest: Any, content: object) -> None:
    """Each content says what it is and how long, so that no two are fed the same bytes."""
    if isinstance(content, Examples):
        digest.update(b"examples")
        _feed(digest, {name: each[content.indices] for name, each in content.values.items()})
        for name, sequences in sorted(content.sequences.items()):
            _feed(digest, [name, sequences.lengths_of(content.indices)])
            _feed_rows(digest, sequences, content.indices)
    elif isinstance(content, np.ndarray):
        array = cast("NDArray[Any]", content)
        _feed(digest, ["array", array.dtype.str, list(array.shape)])
        _feed_bytes(digest, array.reshape(-1))
    elif is_dataclass(content) and not isinstance(content, type):
        _feed(digest, type(content).__name__)
        _feed(digest, {field.name: getattr(content, field.name) for field in fields(content)})
    elif isinstance(content, Mapping):
        items = cast("Mapping[str, object]", content)
        _feed(digest, sorted(items))
        for name in sorted(items):
            _feed(digest, items[name])
    elif isinstance(content, (list, tuple)):
        listed = cast("list[object]", content)
        digest.update(f"[{len(listed)}".encode())
        for each in listed:
            _feed(digest, each)
    elif content is None or isinstance(content, (str, int, float)):
        # Behind a text's quotes and a number's comma something else begins.
        digest.update(f"{json.dumps(content)},".encode())
    else:
        raise TypeError(f"no fingerprint can be made of {type(content).__name__}")


def _feed_rows(digest: Any, column: Ragged, rows: NDArray[np.int64]) -> None:
    """The elements of these rows; rows that follow one another are read together."""
    values = column.values
    _feed(digest, [values.dtype.str, list(values.shape[1:])])
    # Where a row does not follow the one before it, a run of rows begins.
    begins = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
    for begin, end in pairwise([*begins.tolist(), len(rows)]):
        first, last = column.offsets[rows[begin]], column.offsets[rows[end - 1] + 1]
        _feed_bytes(digest, values[int(first) : int(last)])


def _feed_bytes(digest: Any, array: NDArray[Any]) -> None:
    """What the array holds, a block at a time."""
    at_once = max(1, _BLOCK * len(array) // max(1, array.nbytes))
    for begin in range(0, len(array), at_once):
        digest.update(array[begin : begin + at_once].tobytes())
