"""JSON lines: an object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

from unrolled.data.corpus import Source
from unrolled.data.readers.reading import Reading
from unrolled.data.readers.values import lacking
from unrolled.data.row import Row
from unrolled.errors import DataError

# JSON may spell half of a surrogate pair, which is no character and can't be written.
_HALF = re.compile("[\ud800-\udfff]")

_KINDS: dict[type, str] = {list: "a list", str: "text", bool: "true or false", type(None): "null"}


def read_json_lines(sources: Sequence[Source], reading: Reading) -> Iterator[Row]:
    """Rows of what the objects hold."""
    for source in sources:
        for line in reading.good_lines(source):
            if not line.text or line.text.isspace():
                continue
            try:
                values = _object(line.text)
            except DataError as error:
                reading.bad.add(source.name, line.number, str(error))
                continue
            if problem := lacking(values, reading.needed):
                reading.bad.add(source.name, line.number, problem)
            else:
                yield Row(source.name, line.number, values)


def _object(text: str) -> dict[str, Any]:
    try:
        value: object = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise DataError(f"the line is not JSON: {error.msg}, column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"the line is not JSON that can be read: {error}") from None
    if not isinstance(value, dict):
        raise DataError(
            f"the line is {_KINDS.get(type(value), 'a number')} where an object is expected, such "
            'as {"text": "…", "label": "…"}'
        )
    if "\\ud" in text.lower() and _HALF.search(json.dumps(value, ensure_ascii=False)):
        raise DataError("the line spells half of a surrogate pair, which is no character")
    return cast("dict[str, Any]", value)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for i, key in enumerate(keys) if key in keys[:i])
        raise DataError(f"the object has the key {twice!r} twice")
    return values
