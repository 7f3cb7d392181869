"""Tables of the documentation that are read from the code itself."""

from __future__ import annotations

from unrolled.cell import Cell
from unrolled.cells import CELLS

HEADER = ("cell", "what it is", "states", "parameters", "paper")


def table() -> str:
    """The textbook cells as a Markdown table, from their signatures and docstrings."""
    rows = [HEADER, ("---",) * len(HEADER), *(row(cell) for cell in CELLS.values())]
    return "".join(f"| {' | '.join(map(escape, r))} |\n" for r in rows)


def escape(text: str) -> str:
    """``text`` as it must stand in a cell of a Markdown table."""
    return text.replace("|", "\\|")


def row(cell: Cell) -> tuple[str, ...]:
    """One cell's row: name, first line, states, parameters with their shapes, paper."""
    states = ", ".join(f"`{s.name}[{s.size}]`" for s in cell.states)
    parameters = ", ".join(
        f"`{p.name}[{', '.join(map(str, p.shape))}]`" for p in cell.parameters.values()
    )
    return f"`{cell.name}`", summary(cell), states, parameters, paper(cell)


def summary(cell: Cell) -> str:
    """The first line of a cell's docstring as Markdown, without its full stop."""
    return cell.doc.split("\n", 1)[0].removesuffix(".").replace("``", "`")


def paper(cell: Cell) -> str:
    """What a cell's docstring names as its paper; ``ValueError`` where it names none."""
    for paragraph in cell.doc.split("\n\n"):
        if paragraph.startswith("Paper: "):
            return " ".join(paragraph.removeprefix("Paper: ").split()).removesuffix(".")
    raise ValueError(
        f"cell {cell.name}: expected a paragraph 'Paper: …' in its docstring, found none"
    )
