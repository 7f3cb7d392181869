"""Which calls of a step multiply a matrix and a vector, and what their operands are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PRODUCTS: Mapping[str, tuple[str, ...]] = {
    "matmul": ("input", "other"),
    "mm": ("input", "mat2"),
    "mv": ("input", "vec"),
    "inner": ("input", "other"),
    "linear": ("input", "weight", "bias"),
    "addmv": ("input", "mat", "vec"),
}
"""Torch's functions that multiply, each with its arguments by name in their order."""

_ADDED = {"linear": "bias", "addmv": "input"}
"""The argument that is added to the product."""


@dataclass(frozen=True)
class Call:
    """A call of one of :data:`PRODUCTS`: its arguments by name, and the names of two factors."""

    name: str
    given: Mapping[str, Any]
    factors: tuple[str, str]

    @property
    def operands(self) -> tuple[Any, Any]:
        """The two factors, left and right."""
        left, right = self.factors
        return self.given[left], self.given[right]

    def product(self) -> Any:
        """The product alone, with nothing added to it and not scaled."""
        a, b = self.operands
        if self.name not in ("linear", "inner"):
            return a @ b
        if a.ndim == 1:
            return b @ a
        return a @ (b if b.ndim == 1 else b.T)

    def finish(self, product: Any) -> Any:
        """The call's result, of what its product has become."""
        if self.name == "addmv":
            alpha, beta = self.given.get("alpha", 1), self.given.get("beta", 1)
            return beta * self.given["input"] + alpha * product
        added = self.given.get("bias")
        return product if added is None else product + added


def read(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call | None:
    """The call as one of a product; ``None`` where it is none that has a matrix."""
    if name not in PRODUCTS:
        return None
    given = {**dict(zip(PRODUCTS[name], args, strict=False)), **kwargs}
    added = _ADDED.get(name)
    left, right = (n for n in PRODUCTS[name] if n != added)
    call = Call(name, given, (left, right))
    return call if any(v.ndim == 2 for v in call.operands) else None


def factors_of(call: Call, args: tuple[Any, ...]) -> tuple[set[int], set[str]]:
    """Where the factors stand: the positions of those given by position, the names of others."""
    positions = {k for k, n in enumerate(PRODUCTS[call.name][: len(args)]) if n in call.factors}
    return positions, set(call.factors)
