"""Layer and root-mean-square normalisation of a cell's products, states or output.

Papers: Ba, Kiros and Hinton 2016, "Layer normalization", arXiv:1607.06450, which normalises the
products of a recurrent step before they are added up, each with a gain of its own; Zhang and
Sennrich 2019, "Root mean square layer normalization", arXiv:1910.07467.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch.nn import functional as F

from unrolled import rules
from unrolled.cell import Cell
from unrolled.combinators.compose import (
    around,
    check_states,
    combinator,
    example,
    fresh,
    output_length,
    run,
)
from unrolled.errors import CellError
from unrolled.ops import TABLE
from unrolled.proxy import Proxy
from unrolled.specs import ParamSpec

PRODUCTS, OUTPUT = "products", "output"
Normalisation = Callable[..., Any]
"""Of a vector, its gain and its shift (or None)."""


@combinator
def layer_norm(cell: Cell, *of: str) -> Cell:
    """The cell with layer normalisation, by default of its products, as the paper has it.

    Args:
        cell: a cell.
        of: what is normalised: ``"products"``, each product of a matrix and a vector in the step, a
            cell's rows of gates that are multiplied apart each by themselves; the name of a state,
            which is then normalised after each step; or ``"output"``.

    A product gets a gain that is called after its matrix, ``gain_W``, or with a number where the
    matrix has several, ``gain_W_ih_1``; a shift is the bias that the cell has. A state and the
    output get a gain and a shift, ``gain_h`` and ``shift_h``, ``gain_output`` and ``shift_output``.

    Raises :class:`CellError` where there is nothing of that name, and no product.
    """
    return _normalised(cell, of or (PRODUCTS,), _layer, "layer_norm")


@combinator
def rms_norm(cell: Cell, *of: str) -> Cell:
    """The cell with root-mean-square normalisation; ``of`` and the gains as for ``layer_norm``.

    There are no shifts.
    """
    return _normalised(cell, of or (PRODUCTS,), _rms, "rms_norm")


def _layer(v: Any, gain: Any, shift: Any) -> Any:
    return F.layer_norm(v, v.shape, gain, shift)


def _rms(v: Any, gain: Any, _: Any) -> Any:
    return F.rms_norm(v, v.shape, gain)


def _normalised(cell: Cell, of: tuple[str, ...], normalise: Normalisation, what: str) -> Cell:
    states = [name for name in of if name not in (PRODUCTS, OUTPUT)]
    check_states(cell, states, f"{what} of a state")
    if len(set(of)) != len(of):
        raise CellError(f"{what}({', '.join((cell.name, *of))}) names one twice", "", cell.location)
    if PRODUCTS in of:
        cell = _of_products(cell, normalise, what)
    if OUTPUT in of:
        cell = _of_output(cell, normalise)
    return _of_states(cell, states, normalise) if states else cell


def _of_states(cell: Cell, states: list[str], normalise: Normalisation) -> Cell:
    shapes = {s.name: (s.size,) for s in cell.states}
    gains, parameters = {}, []
    for state in states:
        gains[state], declared = _gain_and_shift(cell, state, shapes[state], normalise)
        parameters += declared

    def step(x: Any, *given: Any, **arguments: Any) -> Any:
        scales = {name: [arguments.pop(p) for p in names] for name, names in gains.items()}
        done = run(cell, x, given, arguments)
        return done.with_states(
            {name: _scaled(normalise, done.states[name], s) for name, s in scales.items()}
        ).returned()

    return around(cell, step, parameters)


def _of_output(cell: Cell, normalise: Normalisation) -> Cell:
    names, parameters = _gain_and_shift(cell, OUTPUT, (output_length(cell),), normalise)

    def step(x: Any, *given: Any, **arguments: Any) -> Any:
        scale = [arguments.pop(name) for name in names]
        y, new, extras = run(cell, x, given, arguments).returned()
        y = _scaled(normalise, y, scale)
        return y, new, extras

    return around(cell, step, parameters)


def _gain_and_shift(
    cell: Cell, of: str, shape: tuple[str | int, ...], normalise: Normalisation
) -> tuple[list[str], list[ParamSpec]]:
    starts = {"gain": 1.0} | ({"shift": 0.0} if normalise is _layer else {})
    specs = [ParamSpec(fresh(cell, f"{k}_{of}"), shape, start) for k, start in starts.items()]
    return [spec.name for spec in specs], specs


def _scaled(normalise: Normalisation, v: Any, scale: list[Any]) -> Any:
    return normalise(v, *scale, *[None] * (2 - len(scale)))


# --- products


@dataclass(frozen=True)
class _Product:
    """A product in a step: the parameter that its matrix is of, and its length."""

    matrix: str
    length: str


def _of_products(cell: Cell, normalise: Normalisation, what: str) -> Cell:
    found = _products(cell)
    if not found:
        raise CellError(
            f"{what}({cell.name}): the step has no product of a matrix and a vector",
            f"give the state that is to be normalised: {what}(cell, {cell.states[0].name!r})",
            cell.location,
        )
    gains: list[ParamSpec] = []
    count, numbers = Counter(p.matrix for p in found), Counter[str]()
    for product in found:
        numbers[product.matrix] += 1
        number = f"_{numbers[product.matrix]}" if count[product.matrix] > 1 else ""
        name = fresh(cell, f"gain_{product.matrix}{number}")
        gains.append(ParamSpec(name, (product.length,), 1.0))

    def step(x: Any, *states: Any, **arguments: Any) -> Any:
        scales = iter([arguments.pop(gain.name) for gain in gains])

        def normalised(v: Any, _: Any) -> Any:
            gain = next(scales, None)
            if gain is None:
                raise _other_number(cell, what, len(gains))
            return normalise(v, gain, None)

        with rules.in_force(_on_products(normalised)):
            returned = run(cell, x, states, arguments).returned()
        if next(scales, None) is not None:
            raise _other_number(cell, what, len(gains))
        return returned

    return around(cell, step, gains)


def _other_number(cell: Cell, what: str, expected: int) -> CellError:
    return CellError(
        f"{what}({cell.name}): the number of products depends on the sizes or on an option; "
        f"there were {expected} when the cell was made",
        f"bind the option before: {what}(cell.bind(…)); or name states to be normalised",
        cell.location,
    )


def _products(cell: Cell) -> list[_Product]:
    """The products of the step, in its order, as traced at some sizes."""
    found: list[_Product] = []

    def note(v: Any, matrix: Any) -> Any:
        found.append(_Product(_source(matrix), str(v.shape[0])))
        return v

    def step(x: Any, *states: Any, **arguments: Any) -> Any:
        with rules.in_force(_on_products(note)):
            return run(cell, x, states, arguments).returned()

    example(around(cell, step), cell.example_sizes())
    return found


def _source(matrix: Any) -> str:
    """The parameter that a matrix is a part of; ``product`` where it is none's."""
    if not isinstance(matrix, Proxy):
        return "product"  # a captured tensor
    made = {e.out: e for e in matrix.builder.equations}
    var = matrix.value
    while var in made and TABLE[made[var].op].cost == "view":
        (var,) = made[var].inputs
    return var.name if var.role == "parameter" else "product"


def _on_products(change: Callable[[Any, Any], Any]) -> rules.Rule:
    """A rule that changes each product, of more than one element, of a matrix and a vector."""

    def rule(
        name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        given = [*args, *kwargs.values()]
        if name == "linear" and given[0].ndim == 1 and given[1].ndim == 2:
            y = change_long(given[1] @ given[0], given[1])
            bias = given[2] if len(given) > 2 else None
            return y if bias is None else y + bias
        result = function(*args, **kwargs)
        if name not in _PRODUCTS:
            return result
        matrices = [v for v in given if v.ndim == 2]
        vectors = [v for v in given if v.ndim == 1]
        if len(matrices) == len(vectors) == 1:
            return change_long(result, matrices[0])
        return result

    def change_long(v: Any, matrix: Any) -> Any:
        return v if v.shape[-1] == 1 else change(v, matrix)

    return rule


_PRODUCTS = {"matmul", "mv", "inner"}
