"""Results as JSON and back: frozen dataclasses of numbers, texts, tuples and dataclasses.

JSON has no infinity and no NaN, which a loss that explodes has: they are the texts "inf", "-inf"
and "nan" there.
"""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")


def encode(value: Any) -> Any:
    """What ``json.dumps`` takes."""
    if dataclasses.is_dataclass(value):
        return {f.name: encode(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [encode(item) for item in typing.cast("tuple[Any, ...]", value)]
    if isinstance(value, float):
        # Five digits are more than any picture or sentence shows.
        return float(f"{value:.5g}") if math.isfinite(value) else str(value)
    return value


def decode(kind: type[T], value: Any) -> T:
    """What :func:`encode` was given, of that type, but for rounding to five digits.

    Raises:
        ValueError: where ``value`` is of something else.
    """
    return _decode(kind, value)


def _decode(kind: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        names = [f.name for f in dataclasses.fields(kind)]
        if not isinstance(value, dict) or sorted(typing.cast("dict[str, Any]", value)) != sorted(
            names
        ):
            raise ValueError(f"expected an object with {', '.join(names)}, got {value!r:.80}")
        hints = typing.get_type_hints(kind)
        return typing.cast("Any", kind)(**{n: _decode(hints[n], value[n]) for n in names})
    of = typing.get_args(kind)
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"expected a list, got {value!r:.80}")
        items = typing.cast("list[Any]", value)
        kinds = [of[0]] * len(items) if of[1:] == (...,) else of
        return tuple(_decode(k, item) for k, item in zip(kinds, items, strict=True))
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _decode(next(k for k in of if k is not type(None)), value)
    if kind is float and (isinstance(value, (int, float)) or value in ("inf", "-inf", "nan")):
        return float(value)
    if kind in (int, str, bool) and type(value) is kind:
        return value
    raise ValueError(f"expected {kind}, got {value!r:.80}")
