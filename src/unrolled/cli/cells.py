"""``unrolled cells``: the cells that a model can be built of, with their equations."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.cli.equations import equations, typeset
from unrolled.cli.options import Options, pick
from unrolled.models.layers import find_cell


@dataclass(frozen=True)
class CellsConfig:
    """How equations are written.

    Attributes:
        latex: For LaTeX, KaTeX or MathJax, instead of plain text.
    """

    latex: bool = False


def run(arguments: list[str]) -> int:
    """Shows cells, and gives the exit status."""
    options = Options(
        "cells",
        "[NAME...] [options]",
        "Show the equations of cells: of all that come with Unrolled, or of those that are named "
        "as --cell names them, a file.py:function of your own too.",
        'unrolled cells gru "zoneout(lstm, c=0.1)"',
    )
    options.add_argument("names", nargs="*", type=str, metavar="NAME", help="a cell", default=[])
    options.add_fields(CellsConfig)
    values = options.read(arguments)
    config = pick(CellsConfig, values)
    cells = [find_cell(name) for name in values["names"]] or list(CELLS.values())
    print("\n\n".join(_shown(cell, config) for cell in cells))
    return 0


def _shown(cell: Cell, config: CellsConfig) -> str:
    text = typeset(cell) if config.latex else equations(cell)
    return f"{cell.name}{_summary(cell)}\n{textwrap.indent(text, '  ')}"


def _summary(cell: Cell) -> str:
    """The first line of a cell's docstring; a composed cell's name says what it is."""
    line = cell.doc.strip().split("\n", 1)[0].removesuffix(".").replace("``", "")
    return f": {line}" if line and cell.composition is None else ""
