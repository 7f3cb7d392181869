"""How a cell is pickled: by the place of its function, as Python pickles functions.

The decorated function's name holds the cell, so the function itself can't be found by its name.  A
composed cell is pickled as what made it, and of what.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from functools import reduce
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from unrolled.cell import Cell


def reduced(cell: Cell) -> tuple[Any, ...]:
    """What ``Cell.__reduce__`` gives; ``PicklingError`` for a cell that no module holds."""
    if cell.composition is not None:
        made = cell.composition
        origin = made.again()
        return recomposed, (
            made.by,
            made.of,
            made.positional,
            dict(made.named),
            bound(cell, origin),
        )
    if cell.graphs:
        return type(cell).from_graphs, (cell.graphs,)
    module, name = cell.function.__module__, cell.function.__qualname__
    try:
        origin = find(module, name)
    except (AttributeError, ImportError, KeyError):
        origin = None
    if origin is None or getattr(origin, "function", None) is not cell.function:
        raise pickle.PicklingError(
            f"cell {cell.name} can't be pickled, as {module}.{name} does not lead to it: define it "
            "at the top of a module, or save its equations and load them by Cell.from_graphs"
        )
    return restored, (module, name, bound(cell, origin))


_MISSING = object()


def bound(cell: Cell, origin: Cell) -> dict[str, Any]:
    """What ``Cell.bind`` makes ``cell`` of ``origin`` with."""
    changed = {k: v for k, v in cell.options.items() if origin.options.get(k, _MISSING) is not v}
    held = {k: spec.init for k, spec in cell.held.items() if k not in origin.held}
    return {**changed, **held}


def find(module: str, name: str) -> Any:
    """The object of this qualified name."""
    __import__(module)
    return reduce(getattr, name.split("."), sys.modules[module])


def recomposed(
    by: Callable[..., Cell],
    of: Cell,
    positional: tuple[Any, ...],
    named: dict[str, Any],
    bound: dict[str, Any],
) -> Cell:
    """The cell that ``by`` makes of ``of``, with what had been bound."""
    cell = by(of, *positional, **named)
    return cell.bind(**bound) if bound else cell


def restored(module: str, name: str, bound: dict[str, Any]) -> Cell:
    """The cell of this name, with what had been bound."""
    cell = find(module, name)
    return cell.bind(**bound) if bound else cell
