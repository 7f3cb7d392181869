"""``export``: a cell, layers or a language model as C files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.data.files import write_together
from unrolled.errors import UserError
from unrolled.interop.c import blob
from unrolled.interop.c.check import check
from unrolled.interop.c.names import checked_name, identifier
from unrolled.interop.c.network import read
from unrolled.interop.c.program import build
from unrolled.interop.c.samples import sample
from unrolled.interop.c.source import MARK, header, source


def export(
    model: Cell | nn.Module,
    path: str | os.PathLike[str],
    name: str | None = None,
    weights: Literal["array", "blob"] = "array",
    *,
    parameters: Mapping[str, Tensor] | None = None,
    state: Tensor | Sequence[Tensor] | None = None,
    outputs: Sequence[str] = (),
    test: bool = True,
) -> list[Path]:
    """Write one step of ``model``, for one sequence and inference, as C99 that needs libm alone.

    Args:
        model: A layer (``Recurrent``, ``RNN``, ``GRU``, ``LSTM``, or ``torch.nn``'s three), a
            ``LanguageModel``, or a cell with ``parameters``; of float32.
        path: The directory of the files; it is made where it is missing.
        name: What the files, functions and macros begin with; the cell's name where ``None``.
        weights: ``"array"`` puts them into the C file, ``"blob"`` into ``name.bin``, which the
            program loads or maps itself.
        parameters: A cell's parameters.
        state: What each state starts from, a tensor [layers, size] each; zeros where ``None``.
        outputs: Further values of the (last) layer's step that are written too, by the names that
            a layer's ``outputs=`` takes: a state, the cell's own outputs, any value with a name.
        test: Whether to write ``name_test.c``, which compares the C with Python's numbers.

    Returns:
        The files: ``name.c``, ``name.h``, then ``name.bin`` and ``name_test.c`` where there are.
        What an earlier export of this name wrote beside them is removed.

    Raises:
        UserError: where the layers are bidirectional or not float32, where a name can't be one in
            C, or where a file is in the way that is none of ours.
        TypeError, ValueError: where an argument is of another kind or shape.
        CellError: where the cell can't be compiled.
        DataError: where a file can't be written.
    """
    if weights not in ("array", "blob"):
        raise ValueError(f"weights={weights!r}: expected 'array' or 'blob'")
    if isinstance(outputs, str):
        raise TypeError(f"outputs={outputs!r}: expected a sequence of names, ({outputs!r},)")
    network = read(model, parameters, state)
    chosen = checked_name(identifier(network.name).rstrip("_") if name is None else name)
    program = build(network, chosen, tuple(outputs))
    by_blob = weights == "blob"
    contents = {
        f"{chosen}.c": source(program, by_blob).encode(),
        f"{chosen}.h": header(program, by_blob).encode(),
    }
    if by_blob:
        contents[f"{chosen}.bin"] = blob.content(program.weights)
    if test:
        contents[f"{chosen}_test.c"] = check(program, sample(program), by_blob).encode()
    files = {Path(path) / file: content for file, content in contents.items()}
    for file in files:
        if file.exists() and not _is_ours(file):
            raise UserError(
                f"{file} is there, and no export has written it: choose another directory or name"
            )
    write_together(files)
    for end in (".bin", "_test.c"):
        earlier = Path(path) / f"{chosen}{end}"
        if earlier not in files and earlier.is_file() and _is_ours(earlier):
            earlier.unlink()
    return list(files)


def _is_ours(file: Path) -> bool:
    """Whether an export has written a file that is there."""
    try:
        with file.open("rb") as there:
            beginning = there.read(len(MARK))
    except OSError as error:
        raise UserError(f"can't read {file}, which is in the way: {error.strerror}") from error
    return beginning == MARK.encode() or blob.holds_blob(beginning)
