"""Parquet files, by batches of rows. It needs pyarrow, the extra "parquet"."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from unrolled.data.corpus import Source
from unrolled.data.readers.reading import Reading
from unrolled.data.readers.values import lacking
from unrolled.data.row import Row
from unrolled.errors import DataError

_ROWS = 1024


def read_parquet(sources: Sequence[Source], reading: Reading) -> Iterator[Row]:
    """Rows of what the columns hold; where columns are needed, the others are not read.

    Raises:
        DataError: where a file is damaged, has a column twice or not all that are needed, or
            pyarrow is not installed.
    """
    try:
        import pyarrow  # pyright: ignore[reportMissingImports]
        from pyarrow import parquet  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError:
        raise DataError(
            "Parquet files need pyarrow, which is not installed: pip install 'unrolled[parquet]'"
        ) from None
    for source in sources:
        try:
            with parquet.ParquetFile(source.path) as file:
                names: list[str] = list(file.schema_arrow.names)
                reading.check_columns(source.name, names)
                yield from _rows(source, file, reading)
        except (pyarrow.ArrowException, OSError) as error:
            raise DataError(
                f"can't read {source.name} as Parquet: {str(error).splitlines()[0]}"
            ) from error


def _rows(source: Source, file: Any, reading: Reading) -> Iterator[Row]:
    number = 0
    for batch in file.iter_batches(_ROWS, columns=list(reading.needed) or None):
        for values in batch.to_pylist():
            number += 1
            if problem := lacking(values, reading.needed):
                reading.bad.add(source.name, number, problem)
            else:
                yield Row(source.name, number, values)
