"""Whether a row has what is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from unrolled.data.row import missing


def lacking(values: Mapping[str, Any], needed: Sequence[str]) -> str:
    """What is wrong with the first needed column that is missing or has no value, or ""."""
    for column in needed:
        value = values.get(column)
        if value is None:
            return str(missing(column, values))
        if isinstance(value, (str, list)) and (not value or _blank(value)):
            return f"the column {column!r} is empty"
    return ""


def _blank(value: object) -> bool:
    return isinstance(value, str) and value.isspace()
