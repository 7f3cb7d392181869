"""Variational dropout: one mask for all steps of a sequence, on input, states and output.

A mask that is drawn anew at each step wipes out what a state holds; one that stays for the whole
sequence leaves a smaller network that remembers.  A state is masked where a product of a matrix
reads it, also within a join or after elementwise functions, and nowhere else: what a GRU or an LSTM
carries on is untouched.

Paper: Gal and Ghahramani 2016, "A theoretically grounded application of dropout in recurrent neural
networks", arXiv:1512.05287.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from unrolled import rules
from unrolled.cell import Cell
from unrolled.combinators import products
from unrolled.combinators.compose import (
    around,
    check_named,
    check_probability,
    check_states,
    combinator,
    fresh,
    output_length,
    run,
)
from unrolled.errors import CellError
from unrolled.specs import NoiseSpec


@combinator
def variational_dropout(
    cell: Cell, *unnamed: float, input: float = 0.0, output: float = 0.0, **states: float
) -> Cell:
    """The cell with dropout, one mask a sequence: ``variational_dropout(lstm, input=0.2, h=0.3)``.

    Args:
        cell: a cell.
        unnamed: nothing: each probability has a name.
        input: the probability that an element of the input is dropped.
        output: the probability that an element of the output is, not of the state that it may be.
        states: for the name of a state, the probability that an element of it is dropped where a
            product reads it.

    In training each mask m is noise, ``dropout_input`` and so on: 1 for what stays, which is then
    divided by the probability to stay. In evaluation nothing is dropped.

    Raises :class:`CellError` for a name that is no state, a number that is no probability below 1,
    and, when it is traced, for a state that no product reads.
    """
    check_named(cell, "variational_dropout", unnamed)
    check_states(cell, states, "variational_dropout of a state")
    lengths = {s.name: s.size for s in cell.states} | {"input": "D"}
    wanted = {"input": input, **states, "output": output}
    noise: dict[str, NoiseSpec] = {}
    for of, p in wanted.items():
        keep = 1 - check_probability(cell, "variational_dropout", of, p, below=1)
        if p:
            length = output_length(cell) if of == "output" else lengths[of]
            noise[of] = NoiseSpec(fresh(cell, f"dropout_{of}"), length, keep, "sequence")
    if not noise:
        raise CellError(
            f"variational_dropout({cell.name}) drops nothing",
            "variational_dropout(cell, input=0.2, h=0.2, output=0.2)",
            cell.location,
        )

    def step(x: Any, *given: Any, **arguments: Any) -> Any:
        masks = {of: arguments.pop(spec.name) / spec.p for of, spec in noise.items()}
        masks = {of: m for of, m in masks.items() if not isinstance(m, float)}  # else it is 1
        if "input" in masks:
            x = masks["input"] * x
        of_states = {
            s.name: (h, masks[s.name])
            for s, h in zip(cell.states, given, strict=True)
            if s.name in masks
        }
        twins = _Twins({name: (h, m * h) for name, (h, m) in of_states.items()})
        if of_states:
            with rules.in_force(twins.rule):
                y, new, extras = run(cell, x, given, arguments).returned()
            twins.check(cell)
        else:
            y, new, extras = run(cell, x, given, arguments).returned()
        if "output" in masks:
            y = masks["output"] * y
        return y, new, extras

    return around(cell, step, noise=noise.values())


class _Twins:
    """What products read in place of values that are computed from states to be masked.

    Whatever a step computes from such a state is computed from the masked one as well; a product
    takes that. What nobody reads is not compiled.
    """

    def __init__(self, states: Mapping[str, tuple[Any, Any]]) -> None:
        # By a value's identity: itself, its twin, and the states that both are computed from.
        self._twins = {id(h): (h, m, frozenset([n])) for n, (h, m) in states.items()}
        self._unread = set(states)

    def rule(
        self, name: str, function: Callable[..., Any], args: rules.Arguments, kwargs: dict[str, Any]
    ) -> Any:
        """Each call of the step; see :mod:`unrolled.rules`."""
        call = products.read(name, args, kwargs)
        if call is not None:
            return self._product(call, function, args, kwargs)
        return self._both(function, args, kwargs)

    def _product(
        self,
        call: products.Call,
        function: Callable[..., Any],
        args: rules.Arguments,
        kwargs: dict[str, Any],
    ) -> Any:
        """A product's factors are read masked; what it adds to them is a value like any other."""
        of: set[str] = set()
        positions, names = products.factors_of(call, args)
        args = tuple(self._masked(a, of) if k in positions else a for k, a in enumerate(args))
        kwargs = {k: self._masked(v, of) if k in names else v for k, v in kwargs.items()}
        self._unread -= of
        return self._both(function, args, kwargs)

    def _both(
        self, function: Callable[..., Any], args: rules.Arguments, kwargs: dict[str, Any]
    ) -> Any:
        of: set[str] = set()
        masked = [self._masked(a, of) for a in args]
        masked_kwargs = {k: self._masked(v, of) for k, v in kwargs.items()}
        result = function(*args, **kwargs)
        if of:
            self._remember(result, function(*masked, **masked_kwargs), frozenset(of))
        return result

    def check(self, cell: Cell) -> None:
        """:class:`CellError` where no product has read one of the states."""
        for state in sorted(self._unread):
            raise CellError(
                f"variational_dropout({cell.name}): no product of a matrix reads the state {state}",
                "it has nothing to drop there; zoneout(cell, …) works on any state",
                cell.location,
            )

    def _masked(self, value: Any, of: set[str]) -> Any:
        if isinstance(value, (tuple, list)):
            values = [self._masked(v, of) for v in cast("Sequence[Any]", value)]
            return values if isinstance(value, list) else tuple(values)
        found = self._twins.get(id(value))
        if found is None:
            return value
        of |= found[2]
        return found[1]

    def _remember(self, value: Any, masked: Any, of: frozenset[str]) -> None:
        if isinstance(value, (tuple, list)):
            for v, m in zip(cast("Sequence[Any]", value), masked, strict=True):
                self._remember(v, m, of)
        elif hasattr(value, "ndim"):
            self._twins[id(value)] = (value, masked, of)
