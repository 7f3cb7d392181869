"""How a cell is made of another: its step runs inside of a new one, with further parameters.

A composed cell is a cell like any other: its step is plain PyTorch, runs on real tensors, and is
traced through.  It keeps the arguments of the cell inside, and knows what made it, by which it is
pickled and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial, wraps
from math import inf
from typing import Any, Concatenate, ParamSpec, cast

from unrolled import sizes
from unrolled.cell import Cell, Composition, StepFunction, as_cell
from unrolled.errors import CellError
from unrolled.ir import Graph
from unrolled.returned import unpack
from unrolled.specs import UNIFORM, Init, NoiseSpec
from unrolled.specs import ParamSpec as Parameter

P = ParamSpec("P")


def combinator(
    function: Callable[Concatenate[Cell, P], Cell],
) -> Callable[Concatenate[Cell, P], Cell]:
    """Make of ``function`` one whose cells know that it made them, and of what.

    To be pickled they need ``function`` at the top of a module.
    """

    @wraps(function)
    def build(cell: Cell, *args: P.args, **kwargs: P.kwargs) -> Cell:
        cell = as_cell(cell)
        made = function(cell, *args, **kwargs)
        given = [*map(_text, args), *(f"{k}={_text(v)}" for k, v in kwargs.items())]
        name = f"{function.__name__}({', '.join([cell.name, *given])})"
        return replace(made, name=name, composition=Composition(build, cell, args, kwargs))

    return build


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Cell):
        return value.name
    if isinstance(value, partial):
        made = cast("partial[Any]", value)
        held = [*map(_text, made.args), *(f"{k}={_text(v)}" for k, v in made.keywords.items())]
        return f"partial({', '.join([_text(made.func), *held])})"
    if type(value).__repr__ is object.__repr__:  # which is an address
        return type(value).__name__
    name = getattr(value, "__name__", None)
    return "lambda" if name == "<lambda>" else name or repr(value)


class Step:
    """What one step of a cell has given: the output, the new states by name, further outputs."""

    # No dataclass: values would be called after its arguments, as if a user had named them.
    def __init__(self, y: Any, states: dict[str, Any], extras: dict[str, Any]) -> None:
        self.y, self.states, self.extras = y, states, extras

    def returned(self) -> tuple[Any, tuple[Any, ...], dict[str, Any]]:
        """In the form in which a step function returns it."""
        return self.y, tuple(self.states.values()), self.extras

    def with_states(self, new: Mapping[str, Any]) -> Step:
        """With other values of states; where the output is one of them, it changes too."""
        changed = {id(self.states[name]): value for name, value in new.items()}
        return Step(changed.get(id(self.y), self.y), {**self.states, **new}, self.extras)


def run(cell: Cell, x: Any, states: tuple[Any, ...], arguments: Mapping[str, Any]) -> Step:
    """One step of ``cell``; ``arguments`` are its parameters, held parameters and options."""
    returned = cell.function(x, *states, **arguments)
    try:
        y, new, extras = unpack(returned, len(cell.states))
    except ValueError as error:
        names = ", ".join(s.name for s in cell.states)
        hint = f"`return {names}`, or the output before the states: `return y, ({names},)`"
        raise CellError(f"cell {cell.name}: {error}", hint, cell.location) from None
    if any(value is None for value in (y, *new)):
        raise CellError(f"cell {cell.name}: the step returned nothing", "", cell.location)
    return Step(y, {s.name: v for s, v in zip(cell.states, new, strict=True)}, extras)


def around(
    cell: Cell,
    function: StepFunction,
    parameters: Iterable[Parameter] = (),
    noise: Iterable[NoiseSpec] = (),
) -> Cell:
    """``cell`` with the step ``function`` around its own, and with further parameters and noise.

    Args:
        cell: the cell inside.
        function: the new step, which takes what that of ``cell`` takes and the further ones.
        parameters: each a ``parameter(name, ...)``, or by whatever name :func:`fresh` says is free.
        noise: likewise, of ``NoiseSpec``.

    Raises :class:`CellError` for a name that is taken, ``TypeError`` for what has none.
    """
    parameters, noise = tuple(parameters), tuple(noise)
    taken = _taken(cell)
    for spec in (*parameters, *noise):
        if not spec.name:
            raise TypeError(
                f"around({cell.name}): a parameter without a name: param() takes its name from a "
                "signature; here it is parameter('scale', 'H', init=1.0)"
            )
        if spec.name in taken:
            raise CellError(
                f"around({cell.name}): the name {spec.name} is taken",
                f"fresh(cell, {spec.name!r}) gives one that is free",
                cell.location,
            )
        taken.add(spec.name)
    return replace(
        cell,
        function=function,
        parameters={**cell.parameters, **{p.name: p for p in parameters}},
        noise={**cell.noise, **{m.name: m for m in noise}},
        graphs=(),
    )


def fresh(cell: Cell, name: str) -> str:
    """``name`` for a new parameter or noise, or with the first number that frees it."""
    taken = _taken(cell)
    found, n = name, 1
    while found in taken:
        n += 1
        found = f"{name}_{n}"
    return found


def _taken(cell: Cell) -> set[str]:
    own = {cell.input, *(s.name for s in cell.states), *cell.parameters}
    return own | {*cell.held, *cell.options, *cell.noise}


def parameter(name: str, *shape: str | int, init: Init = UNIFORM) -> Parameter:
    """A further parameter for :func:`around`: a name, and what ``param`` takes.

    Raises :class:`CellError` where the shape is no size.
    """
    for expression in shape:
        try:
            sizes.symbols(expression)
        except (ValueError, SyntaxError):
            raise CellError(
                f"parameter {name}: {expression!r} is no size",
                "use names, integers and + - * //, as in '3*H'",
            ) from None
    return Parameter(name, shape, init)


def check_states(cell: Cell, names: Iterable[str], what: str) -> None:
    """:class:`CellError` where one of the names is no state of the cell; ``what`` asks for it."""
    states = [s.name for s in cell.states]
    for name in names:
        if name not in states:
            raise CellError(
                f"{what}: cell {cell.name} has no state {name}",
                f"its states are {', '.join(states)}",
                cell.location,
            )


def check_named(cell: Cell, what: str, unnamed: tuple[float, ...]) -> None:
    """:class:`CellError` for numbers that are given without the name of a state."""
    if unnamed:
        name = cell.states[0].name
        raise CellError(
            f"{what}({cell.name}): {unnamed[0]!r} without a name says nothing of which state",
            f"name it: {what}(cell, {name}={unnamed[0]!r})",
            cell.location,
        )


def check_probability(cell: Cell, what: str, name: str, p: float, below: float = inf) -> float:
    """``p`` if it is a number in 0 … 1 and below ``below``, else :class:`CellError`."""
    is_number = isinstance(p, (int, float)) and not isinstance(p, bool)  # pyright: ignore
    if not is_number or not 0 <= p <= 1 or p >= below:
        expected = "a number from 0 to 1" if below > 1 else "a number from 0 to below 1"
        raise CellError(
            f"{what}({cell.name}): {name}={p!r}, expected {expected}",
            f"it is the probability of each element: {what}(cell, {name}=0.1)",
            cell.location,
        )
    return float(p)


def example(cell: Cell, given: Mapping[str, int]) -> Graph:
    """The step at these sizes, which shows the lengths of its values over the named sizes.

    :class:`CellError` where the step does not run at them.
    """
    try:
        return cell.graph(given)
    except (CellError, TypeError, ValueError, IndexError, ArithmeticError) as error:
        problem = error.problem if isinstance(error, CellError) else str(error)
        problem = problem.removeprefix(f"cell {cell.name}: ")
        listed = ", ".join(f"{name}={n}" for name, n in given.items())
        raise CellError(
            f"cell {cell.name} does not run at {listed}: {problem}",
            "what is made of it must be known before a layer says the sizes: write the step for "
            "any size, and a length that never changes as a number, param(1, 'H')",
            error.location if isinstance(error, CellError) else cell.location,
        ) from error


def output_length(cell: Cell) -> str:
    """The length of the cell's output over its named sizes, such as ``H``."""
    return str(example(cell, cell.example_sizes()).outputs[0].var.shape[0])
