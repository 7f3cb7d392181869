"""Other activations: a function that a cell's step calls, replaced by another.

``with_activation(gru, tanh=torch.relu)`` is the GRU whose candidate passes through a ReLU.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import Any

from unrolled import rules
from unrolled.cell import Cell
from unrolled.combinators.compose import around, combinator, run
from unrolled.errors import CellError
from unrolled.proxy import FUNCTIONS


@combinator
def with_activation(cell: Cell, **functions: Callable[[Any], Any]) -> Cell:
    """The cell with each function that is named replaced by the one given for it.

    Args:
        cell: a cell whose step calls the functions that are named.
        functions: for the name of a function of torch's, such as ``tanh``, one of a single vector:
            another of torch's, or of your own in terms of theirs. Calls as methods, ``v.tanh()``,
            are replaced too, and further arguments (the ``dim`` of ``softmax``) are dropped.

    Raises :class:`CellError` where torch has no such function that a cell can use, or, when it is
    traced, where the cell's step never calls it.
    """
    if not functions:
        raise CellError(f"with_activation({cell.name}) replaces nothing", _FORM, cell.location)
    for name, function in functions.items():
        if name not in FUNCTIONS:
            close = difflib.get_close_matches(name, FUNCTIONS, n=3)
            raise CellError(
                f"with_activation({cell.name}): no function {name} that a cell can use",
                f"close to it: {', '.join(close)}" if close else _FORM,
                cell.location,
            )
        if not callable(function):
            raise CellError(
                f"with_activation({cell.name}): {name} is replaced by a "
                f"{type(function).__name__}, expected a function",
                _FORM,
                cell.location,
            )
    by_meaning = {_meaning(name): name for name in functions}

    def step(x: Any, *states: Any, **arguments: Any) -> Any:
        called: set[str] = set()

        def rule(
            name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> Any:
            called.add(name)
            replaced = by_meaning.get(_meaning(name))
            if replaced is None:
                return function(*args, **kwargs)
            called.add(replaced)
            return functions[replaced](args[0] if args else kwargs["input"])

        with rules.in_force(rule):
            returned = run(cell, x, states, arguments).returned()
        _check_called(cell, functions, called)
        return returned

    return around(cell, step)


_FORM = "with_activation(cell, tanh=torch.relu)"


def _meaning(name: str) -> str:
    """One name for functions that mean the same, such as ``sigmoid`` and ``special.expit``."""
    return getattr(FUNCTIONS.get(name), "__name__", name)


def _check_called(cell: Cell, functions: Mapping[str, Any], called: set[str]) -> None:
    missing = [name for name in functions if name not in called]
    if missing:
        raise CellError(
            f"with_activation({cell.name}): the step never calls {missing[0]}",
            f"it calls {', '.join(sorted(called & FUNCTIONS.keys())) or 'no function of torch'}",
            cell.location,
        )
