"""A projection of the output, to another size than the states'.

Paper: Sak, Senior and Beaufays 2014, arXiv:1402.1128, whose LSTM also carries the projected vector
on as its state: that is ``unrolled.cells.lstm_projected``.
"""

from __future__ import annotations

from typing import Any

from unrolled import sizes
from unrolled.cell import Cell
from unrolled.combinators.compose import around, combinator, fresh, output_length, run
from unrolled.errors import CellError
from unrolled.specs import ParamSpec


@combinator
def project(cell: Cell, size: str | int) -> Cell:
    """The cell with the output W_project y, of length ``size``; its states stay as they are.

    ``size`` is a number, or an expression over named sizes as in :func:`param`: for ``"P"``, the
    layer is given ``sizes={"P": 64}``.
    """
    try:
        sizes.symbols(size)
    except (ValueError, SyntaxError):
        raise CellError(
            f"project({cell.name}): {size!r} is no size",
            "use names, integers and + - * //, as in 'P' or 'H//2'",
            cell.location,
        ) from None
    weight = fresh(cell, "W_project")

    def step(x: Any, *states: Any, **arguments: Any) -> Any:
        W = arguments.pop(weight)
        y, new, extras = run(cell, x, states, arguments).returned()
        y = W @ y
        return y, new, extras

    return around(cell, step, [ParamSpec(weight, (size, output_length(cell)))])
