"""Residual connections: a cell puts out what it adds to its input.

Paper: He et al. 2016, "Deep residual learning for image recognition", arXiv:1512.03385; between
recurrent layers Wu et al. 2016, "Google's neural machine translation system", arXiv:1609.08144.
"""

from __future__ import annotations

from typing import Any

from unrolled.cell import Cell
from unrolled.combinators.compose import around, combinator, fresh, output_length, run
from unrolled.errors import CellError
from unrolled.specs import ParamSpec


@combinator
def residual(cell: Cell, *, project: bool = False) -> Cell:
    """The cell with its input added to its output: y + x, or y + W_residual x with ``project``.

    The states stay as they are.  Without ``project`` the output must be as long as the input;
    :class:`CellError` says so for a layer where it is not.
    """
    if project:
        return _projected(cell)

    def step(x: Any, *states: Any, **arguments: Any) -> Any:
        y, new, extras = run(cell, x, states, arguments).returned()
        if tuple(y.shape) != tuple(x.shape):
            raise CellError(
                f"residual({cell.name}): the output has the length {y.shape[-1]}, the input "
                f"{x.shape[-1]}",
                "residual(cell, project=True) adds W_residual @ x; or make the sizes equal, or "
                "give the layer of other sizes a cell of its own",
                cell.location,
            )
        y = y + x
        return y, new, extras

    return around(cell, step)


def _projected(cell: Cell) -> Cell:
    weight = fresh(cell, "W_residual")

    def step(x: Any, *states: Any, **arguments: Any) -> Any:
        W = arguments.pop(weight)
        y, new, extras = run(cell, x, states, arguments).returned()
        y = y + W @ x
        return y, new, extras

    return around(cell, step, [ParamSpec(weight, (output_length(cell), "D"))])
