"""The fingerprint of examples: the same for the same content, and only then."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from numpy.typing import NDArray

from unrolled.data.examples import Examples

_BLOCK = 1 << 20


def fingerprint(examples: Examples) -> str:
    """The SHA-256 of the columns and of which rows are meant; mapped columns are read in blocks."""
    digest = hashlib.sha256()
    columns: dict[str, NDArray[Any]] = {"": examples.indices, **examples.values}
    for name, column in examples.sequences.items():
        columns |= {f"{name}.values": column.values, f"{name}.offsets": column.offsets}
    for name, array in sorted(columns.items()):
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        for begin in range(0, len(array), _BLOCK):
            digest.update(array[begin : begin + _BLOCK].tobytes())
    return digest.hexdigest()
