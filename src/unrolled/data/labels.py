"""Labels: the names of classes to numbers and back."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from unrolled.errors import DataError


@dataclass(frozen=True)
class Labels:
    """The classes that a model tells apart, in the order of their numbers.

    Attributes:
        names: Their names, at least two.

    Raises:
        DataError: where there are fewer than two, or one twice.
    """

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.names:
            raise DataError("there are no labels: give each example one")
        if len(self.names) == 1:
            raise DataError(
                f"all examples have the label {self.names[0]!r}: there is nothing to tell apart, "
                "give examples of at least two classes"
            )
        if len(self._numbers) < len(self.names):
            twice = next(n for i, n in enumerate(self.names) if n in self.names[:i])
            raise DataError(f"the label {twice!r} stands twice")

    @staticmethod
    def build(labels: Iterable[str]) -> Labels:
        """The labels that occur, in their alphabetical order.

        Raises:
            DataError: where fewer than two occur.
        """
        return Labels(tuple(sorted(set(labels))))

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, name: str) -> int:
        """The class' number.

        Raises:
            DataError: where there is no such class.
        """
        number = self._numbers.get(name)
        if number is None:
            known = difflib.get_close_matches(name, self.names, 3)
            some = ", ".join(map(repr, known or self.names[:5]))
            more = " …" if not known and len(self) > 5 else ""
            advice = f"did you mean {some}?" if known else f"there are {some}{more}"
            raise DataError(f"the label {name!r} is none of the {len(self)} learned: {advice}")
        return number

    def to_dict(self) -> dict[str, object]:
        """The labels as plain values for JSON."""
        return {"names": list(self.names)}

    @staticmethod
    def from_dict(values: object) -> Labels:
        """The labels that ``to_dict`` gave.

        Raises:
            DataError: where ``values`` are not of that form.
        """
        fields = cast("Mapping[str, object]", values) if isinstance(values, Mapping) else {}
        names = fields.get("names")
        if set(fields) != {"names"} or not isinstance(names, list):
            raise DataError("labels are an object with names, a list of strings")
        listed = cast("list[object]", names)
        if not all(isinstance(name, str) for name in listed):
            raise DataError("labels are an object with names, a list of strings")
        return Labels(tuple(cast("list[str]", listed)))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.names)}
