"""Sizes that remember their names: ``2 * H`` is the integer 256 and prints as ``2*H``.

A cell is traced at concrete sizes, so that slices, ``range`` and ``if`` are plain Python; a
:class:`Size` is an ``int`` that also carries a linear expression over the named sizes (``D``,
``H``, …), for printing and for solving shapes.  What is not linear stays one opaque symbol.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from math import gcd

Terms = tuple[tuple[str, int], ...]


class Size(int):
    """An ``int`` with the linear expression ``sum(coefficient * symbol) + constant``."""

    terms: Terms
    constant: int

    def __new__(cls, value: int, terms: Mapping[str, int] | None = None, constant: int = 0) -> Size:
        """The integer ``value``; without terms and constant, the constant ``value`` itself."""
        self = super().__new__(cls, value)
        self.terms = tuple((s, c) for s, c in sorted((terms or {}).items()) if c)
        self.constant = constant if self.terms else int(value)
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return (Size, (int(self), dict(self.terms), self.constant))

    def __str__(self) -> str:
        parts = [(c, _scaled(abs(c), symbol)) for symbol, c in self.terms]
        if self.constant or not parts:
            parts.append((self.constant, str(abs(self.constant))))
        # What is added comes first, if there is any.
        (first, text), *rest = sorted(parts, key=lambda part: part[0] < 0)
        return (
            ("-" if first < 0 else "")
            + text
            + "".join(f" {'-' if c < 0 else '+'} {part}" for c, part in rest)
        )

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return (
            format(str(self), spec)
            if not spec or spec[-1] in "<>^s"
            else int(self).__format__(spec)
        )

    def _combine(self, other: object, sign: int) -> Size:
        other = as_size(other)
        terms = dict(self.terms)
        for symbol, coefficient in other.terms:
            terms[symbol] = terms.get(symbol, 0) + sign * coefficient
        constant = self.constant + sign * other.constant
        return Size(int(self) + sign * int(other), terms, constant)

    def __add__(self, other: object) -> Size:  # type: ignore[override]
        return self._combine(other, 1) if isinstance(other, int) else NotImplemented

    __radd__ = __add__

    def __sub__(self, other: object) -> Size:  # type: ignore[override]
        return self._combine(other, -1) if isinstance(other, int) else NotImplemented

    def __rsub__(self, other: object) -> Size:  # type: ignore[override]
        return as_size(other)._combine(self, -1) if isinstance(other, int) else NotImplemented

    def __mul__(self, other: object) -> Size:  # type: ignore[override]
        if not isinstance(other, int):
            return NotImplemented
        left, right = self, as_size(other)
        if left.terms and right.terms:
            return _opaque(int(left) * int(right), f"{_atom(left)}*{_atom(right)}")
        if right.terms:
            left, right = right, left
        factor = right.constant
        terms = {symbol: factor * c for symbol, c in left.terms}
        return Size(int(left) * int(right), terms, factor * left.constant)

    __rmul__ = __mul__

    def __floordiv__(self, other: object) -> Size:  # type: ignore[override]
        if not isinstance(other, int):
            return NotImplemented
        divisor = as_size(other)
        value = int(self) // int(divisor)
        if not divisor.terms and not self.terms:
            return as_size(value)
        if not divisor.terms:
            exact = gcd(*(c for _, c in self.terms), self.constant) % divisor.constant == 0
            if exact:
                terms = {symbol: c // divisor.constant for symbol, c in self.terms}
                return Size(value, terms, self.constant // divisor.constant)
        return _opaque(value, f"{_atom(self)}//{_atom(divisor)}")

    def __rfloordiv__(self, other: object) -> Size:  # type: ignore[override]
        return as_size(other) // self if isinstance(other, int) else NotImplemented

    def __neg__(self) -> Size:
        return self * -1


def as_size(value: object) -> Size:
    """``value`` as a :class:`Size`; a plain ``int`` has no symbols."""
    if isinstance(value, Size):
        return value
    if isinstance(value, int):
        return Size(int(value), None, int(value))
    raise TypeError(f"a size is an int, not {type(value).__name__}")


def named(name: str, value: int) -> Size:
    """The size called ``name``."""
    return Size(value, {name: 1})


def _scaled(factor: int, symbol: str) -> str:
    if factor == 1:
        return symbol
    return f"{factor}*{symbol}" if symbol.isidentifier() else f"{factor}*({symbol})"


def _atom(size: Size) -> str:
    text = str(size)
    return text if text.isidentifier() or text.isdigit() else f"({text})"


def _opaque(value: int, text: str) -> Size:
    return Size(value, {text: 1})


def symbols(expression: str | int) -> tuple[str, ...]:
    """The names in a size expression, in order; raises ``ValueError`` where it isn't one."""
    if isinstance(expression, int):
        return ()
    return tuple(
        dict.fromkeys(n.id for n in ast.walk(_parse(expression)) if isinstance(n, ast.Name))
    )


def evaluate(expression: str | int, sizes: Mapping[str, int]) -> Size:
    """The value of a size expression such as ``"3*H"``; ``KeyError`` for an unknown name."""
    if isinstance(expression, int):
        return as_size(expression)
    return _evaluate(_parse(expression), sizes)


def solve(shapes: Iterable[tuple[str | int, int]]) -> dict[str, int]:
    """The named sizes that make each expression equal its number, as far as they follow.

    An expression is used once all but one of its names are known and it is linear in the last;
    contradictions are left to whoever compares the shapes, where the message can say more.
    """
    known: dict[str, int] = {}
    pending = [(e, n) for e, n in shapes if symbols(e)]
    progress = True
    while progress:
        progress = False
        for expression, number in pending:
            unknown = [s for s in symbols(expression) if s not in known]
            if len(unknown) != 1:
                continue
            numbers = {name: as_size(value) for name, value in known.items()}
            form = evaluate(expression, numbers | {unknown[0]: named(unknown[0], 0)})
            terms = dict(form.terms)
            slope = terms.pop(unknown[0], 0)
            if slope == 0 or any(unknown[0] in symbol for symbol in terms):
                continue
            rest = int(evaluate(expression, known | {unknown[0]: 0}))
            if (number - rest) % slope == 0:
                known[unknown[0]] = (number - rest) // slope
                progress = True
    return known


def _parse(expression: str) -> ast.expr:
    if not isinstance(expression, str):
        raise ValueError(f"{expression!r} is no size: a size is an int or an expression")
    tree = ast.parse(expression.strip(), mode="eval").body
    _check(tree, expression)
    return tree


def _check(node: ast.expr, expression: str) -> None:
    match node:
        case ast.Name() | ast.Constant(value=int()):
            return
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check(operand, expression)
        case ast.BinOp(
            left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.FloorDiv(), right=right
        ):
            _check(left, expression)
            _check(right, expression)
        case _:
            raise ValueError(f"{expression!r} is no size: use names, integers and + - * //")


def _evaluate(node: ast.expr, sizes: Mapping[str, int]) -> Size:
    match node:
        case ast.Name(id=name):
            value = sizes[name]
            return value if isinstance(value, Size) else named(name, value)
        case ast.Constant(value=int(value)):
            return as_size(value)
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, sizes)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _evaluate(left, sizes), _evaluate(right, sizes)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case _:
                    return a // b
        case _:
            raise AssertionError("checked by _parse")
