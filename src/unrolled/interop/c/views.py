"""Views: which elements of which array a value is, where no code has to move them.

A :class:`View` is an array and an affine map: element (i, j, …) of the value is the array's element
``offset + i * strides[0] + j * strides[1] + …``.  Slices, transposes and broadcasts are views of
what they are made of; so are reshapes, where one map can say them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from unrolled.ir import Equation, Shape, Var, n_elements

VIEWS = frozenset(["slice", "broadcast", "reshape", "transpose", "detach"])
"""The ops whose result may be a view."""


@dataclass(frozen=True)
class View:
    """The elements of ``root`` that a value of this shape is."""

    root: Var
    shape: Shape
    strides: tuple[int, ...]
    offset: int = 0

    @property
    def whole(self) -> bool:
        """Whether it is all elements of the array, in their order."""
        same = n_elements(self.shape) == n_elements(self.root.shape)
        return same and self.offset == 0 and self.contiguous

    @property
    def contiguous(self) -> bool:
        """Whether the elements lie one behind the other."""
        return all(
            s == c for n, s, c in zip(self.shape, self.strides, _dense(self.shape), strict=True)
            if n != 1
        )  # fmt: skip


def all_of(root: Var) -> View:
    """An array as it is."""
    return View(root, root.shape, _dense(root.shape))


def view(equation: Equation, source: View) -> View | None:
    """What a view op makes of a view; ``None`` for a reshape that no affine map can say."""
    shape = equation.out.shape
    match equation.op:
        case "slice":
            return part(source, equation["axis"], equation["start"], equation["step"], shape)
        case "broadcast":
            missing = len(shape) - len(source.shape)
            strides = tuple(
                s if n == wanted else 0
                for n, s, wanted in zip(source.shape, source.strides, shape[missing:], strict=True)
            )
            return replace(source, shape=shape, strides=(0,) * missing + strides)
        case "transpose":
            *lead, a, b = source.strides
            return replace(source, shape=shape, strides=(*lead, b, a))
        case "detach":
            return source
        case _:
            if source.contiguous:
                return replace(source, shape=shape, strides=_dense(shape))
            if dims(shape) == dims(source.shape):
                return replace(source, shape=shape, strides=_without_ones(shape, source))
            return None


def part(source: View, axis: int, start: int, step: int, shape: Shape) -> View:
    """The slice of this shape that begins at ``start`` of an axis, which counts from the end."""
    strides = list(source.strides)
    stride = strides[axis]
    strides[axis] = stride * step
    return View(source.root, shape, tuple(strides), source.offset + stride * start)


def dims(shape: Shape) -> Shape:
    """The axes that a loop runs over: those of a length other than 1."""
    return tuple(n for n in shape if n != 1)


def loop_strides(v: View) -> tuple[int, ...]:
    """The strides of the axes that a loop runs over."""
    return tuple(s for n, s in zip(v.shape, v.strides, strict=True) if n != 1)


def collapsed(
    lengths: Shape, strides: Sequence[tuple[int, ...]]
) -> tuple[Shape, list[tuple[int, ...]]]:
    """A loop nest with neighbouring axes made one where all arrays allow it."""
    merged: list[Any] = []
    steps: list[list[Any]] = [[] for _ in strides]
    for axis, n in enumerate(lengths):
        joins = bool(merged) and all(
            own[-1] == given[axis] * n for own, given in zip(steps, strides, strict=True)
        )
        if joins:
            merged[-1] = merged[-1] * n
        else:
            merged.append(n)
        for own, given in zip(steps, strides, strict=True):
            if joins:
                own[-1] = given[axis]
            else:
                own.append(given[axis])
    return tuple(merged), [tuple(s) for s in steps]


def _dense(shape: Shape) -> tuple[int, ...]:
    strides: list[int] = []
    step = 1
    for n in reversed(shape):
        strides.append(step)
        step = n * step
    return tuple(reversed(strides))


def _without_ones(shape: Shape, source: View) -> tuple[int, ...]:
    left = iter(loop_strides(source))
    return tuple(0 if n == 1 else next(left) for n in shape)
