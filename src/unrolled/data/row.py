"""Rows: one example as a file has it, with its place, and its fields as text, items or numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from unrolled.data.pieces import items
from unrolled.errors import DataError


@dataclass(frozen=True)
class Row:
    """One example, as it was read.

    Attributes:
        file: The file, as the user knows it.
        line: The line where it begins, from 1; in a Parquet file the row.
        values: The fields by column: text, from CoNLL columns lists of text, from JSON and Parquet
            what they hold.
    """

    file: str
    line: int
    values: Mapping[str, Any]

    def text(self, column: str) -> str:
        """The column's text.

        Raises:
            DataError: where it is no text, or the row lacks it.
        """
        value = self._value(column)
        if not isinstance(value, str):
            raise DataError(f"the column {column!r} is {_named(value)} where text is expected")
        return value

    def label(self, column: str) -> str:
        """The column's label: text without the space around it, or a whole number as text.

        Raises:
            DataError: where it is neither, or the row lacks it.
        """
        value = self._value(column)
        if isinstance(value, int):  # True and False among them
            return str(value)
        if isinstance(value, str) and value.strip():
            return value.strip()
        raise DataError(
            f"the column {column!r} is {_named(value)} where a label is expected: text or a whole "
            "number"
        )

    def items(self, column: str) -> list[str]:
        """The column's items: a list of texts, or a text's words, which spaces separate.

        Raises:
            DataError: where it is neither, or the row lacks it.
        """
        value = self._value(column)
        if isinstance(value, str):
            return items(value)
        if isinstance(value, list):
            listed = cast("list[object]", value)
            if all(isinstance(item, str) for item in listed):
                return cast("list[str]", listed)
        raise DataError(
            f"the column {column!r} is {_named(value)} where items are expected: a list of texts, "
            "or one text that spaces separate"
        )

    def number(self, column: str) -> float:
        """The column's number.

        Raises:
            DataError: where it is none, infinite or not a number (NaN), or the row lacks it.
        """
        return _number(self._value(column), column)

    def numbers(self, column: str) -> list[float]:
        """The column's numbers: a list of numbers, or a text of numbers that spaces separate.

        Raises:
            DataError: where one of them is no finite number, or the row lacks them.
        """
        value = self._value(column)
        listed = value.split() if isinstance(value, str) else value
        if not isinstance(listed, list):
            raise DataError(
                f"the column {column!r} is {_named(value)} where a list of numbers is expected"
            )
        return [_number(item, column) for item in cast("list[object]", listed)]

    def _value(self, column: str) -> object:
        value = self.values.get(column)
        if value is None:
            raise missing(column, self.values)
        return value


def missing(column: str, values: Mapping[str, Any]) -> DataError:
    """What to say of a row without a value in a column."""
    if column in values:
        return DataError(f"the column {column!r} has no value")
    return DataError(f"there is no {column!r}: there are {', '.join(map(repr, values)) or 'none'}")


def _number(value: object, column: str) -> float:
    try:
        if isinstance(value, (bool, list, dict)):
            raise TypeError
        number = float(cast("Any", value))
    except (TypeError, ValueError, OverflowError):
        raise DataError(
            f"the column {column!r} is {_named(value)} where a number is expected"
        ) from None
    if not math.isfinite(number):
        raise DataError(f"the column {column!r} is {number} where a finite number is expected")
    return number


def _named(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
