"""JSON files of measurements: frozen dataclasses written a row a line, read back as they were.

A file is an object with a ``schema``; its lists have one item a line, so that a change of one row
is a change of one line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


class ResultsError(Exception):
    """A file of results that can't be read, or that a run's rows don't belong into."""


def write(path: Path, schema: int, whole: Mapping[str, Any]) -> None:
    """Write the file at once: one that was there stays whole if this is interrupted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = [f'"schema": {schema}']
    for name, value in whole.items():
        short = _short(value)
        if isinstance(short, list) and short:
            lines = ",\n".join(json.dumps(item) for item in short)
            parts.append(f'"{name}": [\n{lines}\n]')
        else:
            parts.append(f'"{name}": {json.dumps(short)}')
    new = path.with_suffix(".new")
    new.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    os.replace(new, path)


def _short(value: Any) -> Any:
    """Six digits of each float: more than a measurement has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return value


def read(path: Path, schema: int) -> dict[str, Any]:
    """The file's object; :class:`ResultsError` where it isn't one of this schema."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} can't be read: {error}") from error
    found = whole.get("schema") if isinstance(whole, dict) else None
    if found != schema:
        raise ResultsError(f"{path} has schema {found!r}, expected {schema}: measure anew")
    return whole


def rows(path: Path, schema: int, kind: type[T]) -> tuple[T, ...]:
    """The file's ``rows``, none where there is no file.

    Raises :class:`ResultsError` where it can't be read, or they are of another kind.
    """
    if not path.exists():
        return ()
    whole = read(path, schema)
    try:
        return tuple(decoded(kind, row) for row in whole["rows"])
    except (KeyError, TypeError) as error:
        raise ResultsError(f"{path} isn't what a run has written: {error}") from error


def decoded(kind: type[T], value: Any) -> T:
    """A dataclass, or a tuple of one kind of them, from what ``dataclasses.asdict`` made of it.

    A field that may be missing is ``Kind | None``.

    Raises ``TypeError`` where the fields are others.
    """
    return _decoded(kind, value)


def _decoded(kind: Any, value: Any) -> Any:
    if is_dataclass(kind):
        names = {field.name for field in fields(kind)}
        if not isinstance(value, dict) or set(value) != names:
            raise TypeError(f"expected {', '.join(sorted(names))}, got {value!r:.80}")
        hints = get_type_hints(kind)
        return kind(**{name: _decoded(hints[name], item) for name, item in value.items()})  # type: ignore[operator]
    if get_origin(kind) is tuple:
        return tuple(_decoded(get_args(kind)[0], item) for item in value)
    if type(None) in get_args(kind) and value is not None:
        return _decoded(get_args(kind)[0], value)
    return value
