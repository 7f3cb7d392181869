"""Text files: a line a row, a file a class with a line an example, a folder a class.

Space around a line is no part of it, and empty lines are no rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from unrolled.data.corpus import Source
from unrolled.data.lines import LONGEST, lines
from unrolled.data.readers.reading import Reading
from unrolled.data.row import Row
from unrolled.errors import DataError


def read_lines(sources: Sequence[Source], reading: Reading) -> Iterator[Row]:
    """Rows of ``text``: each line that is not empty."""
    for source in sources:
        for line in reading.good_lines(source):
            if text := line.text.strip():
                yield Row(source.name, line.number, {"text": text})


def read_class_files(sources: Sequence[Source], reading: Reading) -> Iterator[Row]:
    """Rows of ``text`` and ``label``: each line of the files, which are named after their class.

    Raises:
        DataError: where a class has no example.
    """
    for label, files in groupby(sources, lambda source: class_of_file(source.path.name)):
        yield from _labelled(label, [(f, read_lines([f], reading)) for f in files])


def read_class_folders(sources: Sequence[Source], reading: Reading) -> Iterator[Row]:
    """Rows of ``text`` and ``label``: each whole file, whose class is its folder's name.

    Raises:
        DataError: where a class has no example.
    """
    for label, files in groupby(sources, lambda source: source.path.parent.name):
        yield from _labelled(label, [(f, _whole(f, reading)) for f in files])


def class_of_file(name: str) -> str:
    """``Greek`` for ``Greek.txt`` and ``Greek.txt.gz``."""
    return name.removesuffix(".gz").removesuffix(".txt")


def _labelled(label: str, files: list[tuple[Source, Iterator[Row]]]) -> Iterator[Row]:
    empty = True
    for _, rows in files:
        for row in rows:
            empty = False
            yield Row(row.file, row.line, {"text": row.values["text"], "label": label})
    if empty:
        names = ", ".join(source.name for source, _ in files[:3])
        raise DataError(
            f"the class {label!r} has no example: there is no text in {names}. Give it some, or "
            "take it away"
        )


def _whole(source: Source, reading: Reading) -> Iterator[Row]:
    texts: list[str] = []
    length = 0
    problem = ""
    for line in lines(source, reading.encoding):
        length += len(line.text) + 1
        problem = line.problem or (
            f"the file has more than {LONGEST:,} characters" if length > LONGEST else ""
        )
        if problem:
            reading.bad.add(source.name, line.number, problem)
            return
        texts.append(line.text)
    text = "\n".join(texts).strip()
    if text:
        yield Row(source.name, 1, {"text": text})
    else:
        reading.bad.add(source.name, 1, "the file has no text")
