"""Tables of the documentation that are read from the code itself, and from the benchmarks."""

from __future__ import annotations

from pathlib import Path

from benchmarks.results import load
from benchmarks.summary import lines
from unrolled.cell import Cell
from unrolled.cells import CELLS

HEADER = ("cell", "what it is", "states", "parameters", "paper")


def table() -> str:
    """The textbook cells as a Markdown table, from their signatures and docstrings."""
    rows = [HEADER, ("---",) * len(HEADER), *(row(cell) for cell in CELLS.values())]
    return "".join(f"| {' | '.join(map(escape, r))} |\n" for r in rows)


SPEED = {"torch.nn": "`torch.nn`", "loop": "plain loop", "jax": "`jax.lax.scan`",
         "onnxruntime": "ONNX Runtime"}  # fmt: skip


def speed(results: Path) -> str:
    """Peers' times over ours, training / inference, as geometric means over the grid's points."""
    means = {(line.peer, line.cell, line.mode): line.mean for line in lines(load(results))}
    rows: list[tuple[str, ...]] = [("", *SPEED.values()), ("---",) * (1 + len(SPEED))]
    for name in dict.fromkeys(cell for _, cell, _ in means):
        entries: list[str] = []
        for peer in SPEED:
            both = [means.get((peer, name, mode)) for mode in ("training", "inference")]
            found = ["—" if mean is None else f"{mean:.1f}" for mean in both]
            entries.append("" if found == ["—", "—"] else " / ".join(found))
        rows.append((f"`{name}`", *entries))
    return "".join(f"| {' | '.join(r)} |\n" for r in rows)


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
