"""Rows of what a user names: files, folders, globs or standard input, in any of nine formats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from unrolled.data.corpus import Source, find
from unrolled.data.readers.conll import read_conll
from unrolled.data.readers.json_lines import read_json_lines
from unrolled.data.readers.pairs import read_pairs
from unrolled.data.readers.parquet import read_parquet
from unrolled.data.readers.reading import Reading
from unrolled.data.readers.table import read_csv, read_tsv
from unrolled.data.readers.text import read_class_files, read_class_folders, read_lines
from unrolled.data.row import Row
from unrolled.errors import DataError

Format = Literal[
    "csv", "tsv", "jsonl", "parquet", "conll", "lines", "class-files", "class-folders", "pairs"
]
Reader = Callable[[Sequence[Source], Reading], Iterator[Row]]

READERS: Mapping[Format, Reader] = {
    "csv": read_csv,
    "tsv": read_tsv,
    "jsonl": read_json_lines,
    "parquet": read_parquet,
    "conll": read_conll,
    "lines": read_lines,
    "class-files": read_class_files,
    "class-folders": read_class_folders,
    "pairs": read_pairs,
}
# What a file's name says; ".gz" behind it says nothing.
SUFFIXES: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".conll": "conll",
    ".conllu": "conll",
}
# Where the format alone says what the columns are.
COLUMNS: Mapping[Format, tuple[str, ...]] = {
    "lines": ("text",),
    "class-files": ("text", "label"),
    "class-folders": ("text", "label"),
    "pairs": ("source", "target"),
}


@dataclass(frozen=True)
class Rows:
    """The rows of some documents; they are read anew for each ``for`` loop, one at a time.

    Attributes:
        sources: The documents.
        format: How they are written.
        reading: What their readers are told.
    """

    sources: tuple[Source, ...]
    format: Format
    reading: Reading

    def __iter__(self) -> Iterator[Row]:
        """The rows.

        Raises:
            DataError: where a document can't be read, there is no row, or more are bad than
                allowed.
        """
        any_row = False
        for row in READERS[self.format](self.sources, self.reading):
            any_row = True
            yield row
        if not any_row:
            bad = self.reading.bad.count
            raise DataError(
                f"there is no row in {self.name}" + (f" but {bad:,} bad ones" if bad else "")
            )

    @property
    def name(self) -> str:
        """The documents, as the user knows them."""
        names = [source.name for source in self.sources]
        more = f" and {len(names) - 3:,} more" if len(names) > 3 else ""
        return ", ".join(names[:3]) + more


def find_rows(
    data: str | Sequence[str],
    reading: Reading,
    format: Format | None = None,
    text: Format = "lines",
    pattern: str = "*",
) -> Rows:
    """The rows of what a user names.

    Args:
        data: One or several of: a file, a directory, a glob, ``-`` for standard input.
        reading: How they are read.
        format: How they are written; None has the files' names say so.
        text: How files are written whose name says nothing, such as ``.txt``. For "class-files" a
            directory of folders is read as "class-folders".
        pattern: Which file names count inside directories, as in a shell: ``*.txt``.

    Raises:
        DataError: where there is no such data, its format is unknown, or it can't have the needed
            columns.
    """
    words = [data] if isinstance(data, str) else list(data)
    if format is not None and format not in READERS:
        raise DataError(f"there is no format {format!r}: there are {', '.join(get_args(Format))}")
    sources = find(words, pattern)
    chosen = format or _named(sources, text)
    pipe = next((source for source in sources if source.piped), None)
    if pipe is not None and chosen in ("class-files", "pairs") and format is None:
        raise DataError(
            f"{pipe.name} has no name that tells its format: say it with --format, such as "
            "--format csv, or jsonl"
        )
    if pipe is not None and chosen == "class-files":
        raise DataError(f"{pipe.name} is no class-files: these are named after their classes")
    if chosen == "class-files" and format is None and _has_folders(words):
        chosen = "class-folders"
    if chosen == "class-folders":
        _check_folders(words, sources)
    if chosen in COLUMNS:
        reading.check_columns(Rows(tuple(sources), chosen, reading).name, COLUMNS[chosen])
    return Rows(tuple(sources), chosen, reading)


def _named(sources: Sequence[Source], text: Format) -> Format:
    """The format that the names say."""
    formats: dict[Format, Source] = {_format(source, text): source for source in sources}
    if len(formats) == 1:
        return next(iter(formats))
    (one, first), (other, second), *_ = formats.items()
    raise DataError(
        f"{first.name} is {one} and {second.name} is {other}: name files of one format, "
        "choose among a folder's files with --pattern, or say with --format how all are written"
    )


def _format(source: Source, text: Format) -> Format:
    name = source.path.name.lower().removesuffix(".gz")
    return SUFFIXES.get(Path(name).suffix, text)


def _folders(word: str) -> list[Path]:
    path = Path(word)
    if not path.is_dir():
        return []
    return sorted(p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))


def _has_folders(words: Sequence[str]) -> bool:
    return any(_folders(word) for word in words)


def _check_folders(words: Sequence[str], sources: Sequence[Source]) -> None:
    if len(words) != 1 or not _folders(words[0]):
        raise DataError(
            f"{' '.join(words)} is no folder with a folder for each class, as class-folders are"
        )
    root = Path(words[0])
    for source in sources:
        if len(source.path.relative_to(root).parts) != 2:
            raise DataError(
                f"{source.name} is not in a class' folder: {root} holds a folder for each class, "
                "and these hold the examples, a file each. Choose among files with --pattern"
            )
    filled = {source.path.parent.name for source in sources}
    for folder in _folders(words[0]):
        if folder.name not in filled:
            raise DataError(
                f"the class {folder.name!r} has no example: there is no file in {folder}. Give it "
                "some, or take it away"
            )
