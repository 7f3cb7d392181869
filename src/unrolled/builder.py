"""Appending equations: shapes inferred from the op table, names kept unique."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from unrolled.errors import CellError, Location
from unrolled.ir import Atom, Constant, Equation, Var, dtype_of
from unrolled.ops import TABLE

Locate = Callable[[], Location | None]


class Builder:
    """Equations in the making; ``locate`` says where in the user's source each one comes from."""

    def __init__(self, taken: Iterable[str] = (), locate: Locate = lambda: None) -> None:
        self.equations: list[Equation] = []
        self.constants: list[Constant] = []
        self.locate = locate
        self._taken = set(taken)
        self._counter = 0

    def fresh(self, name: str | None = None) -> str:
        """``name`` if it is free, else with a number; without a name ``v1``, ``v2`` and so on."""
        if name is None:
            self._counter += 1
            name = f"v{self._counter}"
            while name in self._taken:
                self._counter += 1
                name = f"v{self._counter}"
        else:
            stem, n = name, 0
            while name in self._taken:
                n += 1
                name = f"{stem}_{n}"
        self._taken.add(name)
        return name

    def emit(self, op: str, *args: Atom, name: str | None = None, **attributes: Any) -> Var:
        """Append ``op(args, attributes)`` and return its result.

        :class:`CellError` where the operands' shapes don't fit.
        """
        row = TABLE[op]
        location = self.locate()
        shapes = [a.shape if isinstance(a, Var) else None for a in args]
        try:
            shape = row.shape(*shapes, **attributes)
            dtype = row.dtype(*map(dtype_of, args))
        except ValueError as error:
            listing = " and ".join(str(a) for a in args)
            raise CellError(f"{op} got {listing}: {error}", "", location) from None
        per_step = row.cost != "total" and any(isinstance(a, Var) and a.per_step for a in args)
        out = Var(self.fresh(name), tuple(shape), "value", per_step, dtype)
        self.equations.append(Equation(out, op, args, tuple(attributes.items()), location))
        return out

    def copy(self, equation: Equation, args: tuple[Atom, ...]) -> Var:
        """Append ``equation`` on other operands, under its own name and location."""
        before, self.locate = self.locate, lambda: equation.location
        try:
            attributes = dict(equation.attributes)
            name = None if _provisional(equation.out.name) else equation.out.name
            return self.emit(equation.op, *args, name=name, **attributes)
        finally:
            self.locate = before

    def constant(
        self, data: Iterable[float], shape: tuple[int, ...], name: str | None = None
    ) -> Var:
        """A captured array, the same for the whole call."""
        var = Var(self.fresh(name or "k"), tuple(shape), "constant", per_step=False)
        self.constants.append(Constant(var, tuple(map(float, data))))
        return var


def _provisional(name: str) -> bool:
    return name[0] == "v" and name[1:].isdigit()
