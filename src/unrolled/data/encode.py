"""Rows to examples: each row encoded once, its columns written one after the other.

In memory, or to files that are mapped: then no more than one row and the files' buffers are in
memory, however large the data is. Two files a column: ``<column>.values`` holds the elements,
``<column>.offsets`` where each sequence begins; both are plain arrays.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from unrolled.data.bad_rows import BadRows, usable
from unrolled.data.examples import Examples
from unrolled.data.files import flush, staged
from unrolled.data.ragged import Ragged
from unrolled.data.row import Row
from unrolled.errors import DataError

Encoded = Mapping[str, "NDArray[Any] | float"]


def encode_rows(
    rows: Iterable[Row],
    encode: Callable[[Row], Encoded],
    directory: str | os.PathLike[str] | None,
    bad: BadRows,
) -> Examples:
    """The examples that ``encode`` makes of the rows, in their order.

    Args:
        rows: The rows, read once.
        encode: From a row to its columns: a sequence is an array ``[T, ...]``, a number one value.
            The first good row decides on the columns' types: an ``int`` is kept as int64, a
            ``float`` as float32, arrays and NumPy's numbers as what they are. A DataError that it
            raises makes the row a bad one.
        directory: Where the columns are written to, made if it doesn't exist; None keeps them in
            memory. Files of an earlier call are replaced at the end, all or none of them.
        bad: Where bad rows are counted: also those whose numbers are not finite, or that have
            another width or type than the rows before.

    Raises:
        DataError: where no row is good, more are bad than allowed, or the disk is full.
        ValueError: where ``encode`` gives other columns than for the first row.
    """
    columns: dict[str, _Column] = {}
    files: list[BinaryIO] = []
    root = None if directory is None else Path(directory)
    n = 0
    with ExitStack() as stack:

        def open_file(name: str) -> BinaryIO:
            if root is None:
                return io.BytesIO()
            # Several processes may encode the same data at once; each writes its own file.
            files.append(stack.enter_context(staged(root / name, f"{os.getpid()}.tmp")))
            return files[-1]

        def arrays(row: Row) -> dict[str, NDArray[Any]]:
            given = {name: _array(value) for name, value in encode(row).items()}
            if columns and given.keys() != columns.keys():
                raise ValueError(
                    f"encode gave the columns {sorted(given)} and {sorted(columns)} before"
                )
            for name, array in given.items():
                _check(array, name, columns.get(name))
            return given

        for given in usable(rows, arrays, bad):
            if not columns:
                columns.update({name: _column(name, a, open_file) for name, a in given.items()})
            for name, array in given.items():
                columns[name].append(array)
            n += 1
        if not columns:
            raise DataError(
                f"there is no example: all {bad.count:,} rows are bad"
                if bad.count
                else "there is no example: the data has no row"
            )
        # The first old file is replaced when all new ones are on the disk.
        for file in files:
            flush(file)
    return Examples.of(
        {name: c.ragged(root, n) for name, c in columns.items() if c.offsets is not None},
        {name: c.array(root, n) for name, c in columns.items() if c.offsets is None},
    )


@dataclass(eq=False)
class _Column:
    """A column that grows: the elements of each row behind those of the rows before."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    values: BinaryIO
    offsets: BinaryIO | None
    length: int = field(default=0)

    def append(self, array: NDArray[Any]) -> None:
        self.values.write(np.ascontiguousarray(array, self.dtype).tobytes())
        if self.offsets is not None:
            self.length += len(array)
            self.offsets.write(np.int64(self.length).tobytes())
        else:
            self.length += 1

    def ragged(self, root: Path | None, n: int) -> Ragged:
        assert self.offsets is not None
        offsets = _written(self.offsets, root, _offsets(self.name), np.dtype(np.int64), (n + 1,))
        return Ragged(self.array(root, self.length), offsets)

    def array(self, root: Path | None, n: int) -> NDArray[Any]:
        return _written(self.values, root, _values(self.name), self.dtype, (n, *self.shape))


def _column(name: str, first: NDArray[Any], open_file: Callable[[str], BinaryIO]) -> _Column:
    values = open_file(_values(name))
    if first.ndim == 0:
        return _Column(name, first.dtype, (), values, None)
    offsets = open_file(_offsets(name))
    offsets.write(np.int64(0).tobytes())
    return _Column(name, first.dtype, first.shape[1:], values, offsets)


def _written(
    file: BinaryIO, root: Path | None, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    if isinstance(file, io.BytesIO):
        return np.frombuffer(file.getbuffer(), dtype).reshape(shape)
    if root is None or 0 in shape:  # an empty file can't be mapped
        return np.zeros(shape, dtype)
    return np.memmap(root / name, dtype, "r", shape=shape)


def _values(name: str) -> str:
    return f"{quote(name, safe='')}.values"


def _offsets(name: str) -> str:
    return f"{quote(name, safe='')}.offsets"


def _array(value: NDArray[Any] | float) -> NDArray[Any]:
    if type(value) is int:
        return np.array(value, np.int64)
    return np.array(value, np.float32) if type(value) is float else np.asarray(value)


def _check(array: NDArray[Any], name: str, column: _Column | None) -> None:
    if array.dtype.kind not in "biuf":
        raise ValueError(f"encode gave {array.dtype} for the column {name!r}: give numbers")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        where = f" at step {place[0] + 1}" if place else ""
        raise DataError(f"{name} is {array[tuple(place)]}{where} where a finite number is expected")
    if column is None:
        return
    sequence = column.offsets is not None
    if (array.ndim > 0) != sequence:
        raise ValueError(f"encode gave a sequence and a single number for the column {name!r}")
    if sequence and array.shape[1:] != column.shape:
        raise DataError(
            f"{name} has steps of shape {list(array.shape[1:])}, and {list(column.shape)} in the "
            "rows before"
        )
    if not np.can_cast(array.dtype, column.dtype, "same_kind"):
        raise DataError(f"{name} is {array.dtype}, and {column.dtype} in the rows before")
