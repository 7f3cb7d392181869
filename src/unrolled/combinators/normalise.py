"""Layer and root-mean-square normalisation of a cell's products, states or output.

Papers: Ba, Kiros and Hinton 2016, "Layer normalization", arXiv:1607.06450, which normalises the
products of a recurrent step before they are added up, each with a gain of its own; Zhang and
Sennrich 2019, "Root mean square layer normalization", arXiv:1910.07467.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.nn import functional as F

from unrolled import rules
from unrolled.cell import Cell
from unrolled.combinators import products
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
            which is then normalised after each step; or ``"output"``. A product is a call of
            ``@``, ``mm``, ``mv``, ``inner``, ``linear`` or ``addmv``, without what it adds.

    A product gets a gain that is called after its matrix, ``gain_W``, or with a number where the
    matrix has several, ``gain_W_ih_1``; a shift is the bias that the cell has. A state and the
    output get a gain and a shift, ``gain_h`` and ``shift_h``, ``gain_output`` and ``shift_output``.

    Raises :class:`CellError` where there is nothing of that name, no product, one of two matrices,
    or, when it is traced, one that is a single number at the layer's sizes.
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
    calls = _calls(cell, what)
    found = [call for call in calls if call is not None]
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
        expected = iter(calls)

        def normalised(call: products.Call) -> Any:
            product = next(expected, _NO_MORE)
            if isinstance(product, str):
                raise _other_number(cell, what, len(gains))
            if product is None:
                return None
            v, gain = call.product(), next(scales)
            if v.ndim == 1:
                return normalise(_long(cell, what, v, product), gain, None)
            axis = 0 if v.shape[0] == 1 else 1
            return normalise(_long(cell, what, v.squeeze(axis), product), gain, None).unsqueeze(
                axis
            )

        with rules.in_force(_on_products(normalised)):
            returned = run(cell, x, states, arguments).returned()
        if next(expected, _NO_MORE) != _NO_MORE:
            raise _other_number(cell, what, len(gains))
        return returned

    return around(cell, step, gains)


_NO_MORE = "no more"


def _long(cell: Cell, what: str, v: Any, product: _Product) -> Any:
    """``v``, of which something is left when it is normalised."""
    if v.shape[0] == 1:
        raise CellError(
            f"{what}({cell.name}): the product of {product.matrix} has the length "
            f"{product.length} = 1 at these sizes, and one number normalised says nothing",
            "take larger sizes; or name states to be normalised",
            cell.location,
        )
    return v


def _other_number(cell: Cell, what: str, expected: int) -> CellError:
    return CellError(
        f"{what}({cell.name}): the number of products depends on the sizes or on an option; "
        f"there were {expected} when the cell was made",
        f"bind the option before: {what}(cell.bind(…)); or name states to be normalised",
        cell.location,
    )


def _calls(cell: Cell, what: str) -> list[_Product | None]:
    """The step's calls that multiply, in their order as traced at some sizes.

    ``None`` is one that is not normalised: it has no vector of the step, or gives a single number.
    """
    found: list[_Product | None] = []
    refused: list[CellError] = []

    def note(call: products.Call) -> None:
        a, b = call.operands
        kind = _kind(a, b, call.product().shape)
        if kind == "matrices":
            first, second = (v.value if isinstance(v, Proxy) else "a tensor" for v in (a, b))
            refused.append(
                CellError(
                    f"{what}({cell.name}): {first} and {second} are two matrices, whose product "
                    "has many vectors to be normalised",
                    "multiply by each vector apart, or name states to be normalised",
                    next(v for v in (a, b) if isinstance(v, Proxy)).builder.locate(),
                )
            )
        found.append(_product(call) if kind == "vector" else None)

    def step(x: Any, *states: Any, **arguments: Any) -> Any:
        with rules.in_force(_on_products(note)):
            return run(cell, x, states, arguments).returned()

    example(around(cell, step), cell.example_sizes())
    if refused:
        raise refused[0]
    return found


def _kind(a: Any, b: Any, shape: Sequence[int]) -> str:
    """What a product of ``a`` and ``b`` that has this shape is, one of the step's vectors or not.

    A row or a column of a matrix's shape is a vector too.
    """
    if len(shape) == 1:
        return "number" if shape[0] == 1 else "vector"
    if not any(getattr(v, "per_step", False) for v in (a, b)) or (1 in a.shape and 1 in b.shape):
        return "outer or constant"
    return "vector" if 1 in shape else "matrices"


def _product(call: products.Call) -> _Product:
    a, b = call.operands
    is_vector = a.ndim == 1 or (b.ndim == 2 and getattr(a, "per_step", False))
    n = next((str(n) for n in call.product().shape if n != 1), "1")
    return _Product(_source(b if is_vector else a), n)


def _source(matrix: Any) -> str:
    """The parameter that a matrix is a part of; ``product`` where it is none's."""
    if not isinstance(matrix, Proxy):
        return "product"  # a captured tensor
    made = {e.out: e for e in matrix.builder.equations}
    var = matrix.value
    while var in made and TABLE[made[var].op].cost == "view":
        (var,) = made[var].inputs
    return var.name if var.role == "parameter" else "product"


def _on_products(change: Callable[[products.Call], Any]) -> rules.Rule:
    """A rule that changes products; where ``change`` gives ``None``, the call stays as it is."""

    def rule(
        name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        call = products.read(name, args, kwargs)
        changed = None if call is None else change(call)
        if call is None or changed is None:
            return function(*args, **kwargs)
        return call.finish(changed)

    return rule
