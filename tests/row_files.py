"""Rows of files that a test has just written."""

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unrolled.data.bad_rows import BadRows
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row
from unrolled.data.rows import Rows, find_rows


def written(path: Path, content: str | bytes) -> Path:
    """The file, with its folders; compressed where its name ends in .gz."""
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def rows_of(data: Path | Sequence[Path], bad: BadRows | None = None, **options: Any) -> Rows:
    """What is read; options of ``find_rows`` and of ``Reading``."""
    words = [str(data)] if isinstance(data, Path) else [str(path) for path in data]
    finding = {k: options.pop(k) for k in ("format", "text", "pattern") if k in options}
    return find_rows(words, Reading(bad=bad or BadRows(), **options), **finding)


def found(rows: Rows) -> list[tuple[int, dict[str, Any]]]:
    """Line and values of each row."""
    return [(row.line, dict(row.values)) for row in rows]


def first(rows: Rows) -> Row:
    return next(iter(rows))
