"""Ops over axes: reductions, which keep their axis with length 1, and rearrangements."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled.ir import Equation, Shape, concrete, n_elements
from unrolled.ops.table import Op, row


def _replace_axis(x: Shape, axis: int, length: int) -> Shape:
    if not isinstance(axis, int) or not -len(x) <= axis < 0:
        raise ValueError(f"there is no axis {axis} in {len(x)}, counted from the end")
    return (*x[: len(x) + axis], length, *x[len(x) + axis + 1 :])


def _reduced(x: Shape, axis: int) -> Shape:
    return _replace_axis(x, axis, 1)


row(
    Op(
        "sum", 1, "costly", _reduced,
        lambda equation, x: x.sum(equation["axis"], keepdim=True),
        lambda equation, d, y, x: (d.emit("broadcast", shape=x.shape),),
        (0, r"\textstyle\sum {0}"),
    )
)  # fmt: skip
row(
    Op(
        "mean", 1, "costly", _reduced,
        lambda equation, x: x.mean(equation["axis"], keepdim=True),
        lambda equation, d, y, x: (
            (d / float(x.shape[equation["axis"]])).emit("broadcast", shape=x.shape),
        ),
        (3, r"\operatorname{{mean}}({0})"),
    )
)  # fmt: skip
row(
    Op(
        "amax", 1, "costly", _reduced,
        lambda equation, x: x.amax(equation["axis"], keepdim=True),
        lambda equation, d, y, x: (_share(equation, d, y, x),),
        (3, r"\max({0})"),
    )
)  # fmt: skip


def _share(equation: Equation, d: Any, y: Any, x: Any) -> Any:
    """The cotangent spread evenly over the elements that are the largest."""
    largest: Any = torch.where(x == y.emit("broadcast", shape=x.shape), 1.0, 0.0)
    count = largest.emit("sum", axis=equation["axis"])
    return (d / count).emit("broadcast", shape=x.shape) * largest


# --- rearrangements ----------------------------------------------------------------------


def _lead(x: Tensor, rank: int) -> tuple[int, ...]:
    return tuple(x.shape[: x.ndim - rank])


def _rank(equation: Equation) -> int:
    return len(equation.inputs[0].shape)


def _whole(*numbers: Any) -> None:
    if not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ValueError("a length or position is no whole number")


def _broadcast_shape(x: Shape, shape: Shape) -> Shape:
    _whole(*shape)
    added = len(shape) - len(x)
    if added < 0 or any(n not in (1, m) for n, m in zip(x, shape[added:], strict=True)):
        raise ValueError(f"only lengths of 1 and new axes on the left become {list(shape)}")
    return shape


def _run_broadcast(equation: Equation, x: Tensor) -> Tensor:
    rank, target = _rank(equation), concrete(equation["shape"])
    lead = _lead(x, rank)
    padded = (*lead, *(1,) * (len(target) - rank), *x.shape[x.ndim - rank :])
    return x.reshape(padded).expand(*lead, *target)


def _broadcast_vjp(equation: Equation, d: Any, y: Any, x: Any) -> tuple[Any, ...]:
    source, target = x.shape, equation["shape"]
    padded = (1,) * (len(target) - len(source)) + tuple(source)
    for axis in range(len(target)):
        if padded[axis] == 1 and target[axis] != 1:
            d = d.emit("sum", axis=axis - len(target))
    return (d.emit("reshape", shape=source),)


def _reshaped(x: Shape, shape: Shape) -> Shape:
    _whole(*shape)
    if n_elements(x) != n_elements(shape):
        raise ValueError(f"{list(shape)} has another number of elements")
    return shape


def _transposed(x: Shape) -> Shape:
    if len(x) < 2:
        raise ValueError("only matrices are transposed")
    return (*x[:-2], x[-1], x[-2])


row(
    Op(
        "broadcast", 1, "view", _broadcast_shape, _run_broadcast, _broadcast_vjp, (3, "{0}"),
        takes="either",
    )
)  # fmt: skip
row(
    Op(
        "reshape", 1, "view", _reshaped,
        lambda equation, x: x.reshape((*_lead(x, _rank(equation)), *concrete(equation["shape"]))),
        lambda equation, d, y, x: (d.emit("reshape", shape=x.shape),), (3, "{0}"), takes="either",
    )
)  # fmt: skip
row(
    Op(
        "transpose", 1, "view", _transposed,
        lambda equation, x: x.transpose(-1, -2),
        lambda equation, d, y, x: (d.emit("transpose"),), (3, r"{0}^\top"), takes="either",
    )
)  # fmt: skip


def _sliced_length(start: int, stop: int, step: int, size: int) -> int:
    _whole(start, stop, step, size)
    if not start <= stop <= size or step < 1:
        raise ValueError(f"there is no slice {start}:{stop}:{step} in a length of {size}")
    return stop - start if step == 1 else len(range(start, stop, step))


def _slice_shape(x: Shape, axis: int, start: int, stop: int, step: int) -> Shape:
    whole = _replace_axis(x, axis, 0)
    length = _sliced_length(start, stop, step, x[axis])
    return _replace_axis(whole, axis, length)


def _placed(x: Shape, axis: int, start: int, stop: int, step: int, size: int) -> Shape:
    shape = _replace_axis(x, axis, size)
    if _sliced_length(start, stop, step, size) != x[axis]:
        raise ValueError(f"{x[axis]} entries don't fill the slice {start}:{stop}:{step}")
    return shape


def _taken(x: Shape, axis: int, indices: tuple[int, ...]) -> Shape:
    shape = _replace_axis(x, axis, len(indices))
    _positions(indices, x[axis])
    return shape


def _put(x: Shape, axis: int, indices: tuple[int, ...], size: int) -> Shape:
    shape = _replace_axis(x, axis, size)
    _whole(size)
    _positions(indices, size)
    if len(indices) != x[axis]:
        raise ValueError(f"{x[axis]} entries for {len(indices)} positions")
    return shape


def _positions(indices: tuple[int, ...], size: int) -> None:
    _whole(*indices)
    if any(i >= size for i in indices):
        raise ValueError(f"a position is beyond a length of {size}")


def _index(equation: Equation, x: Tensor) -> tuple[Any, ...]:
    cut = slice(int(equation["start"]), int(equation["stop"]), int(equation["step"]))
    return (..., cut, *(slice(None),) * (-1 - equation["axis"]))


def _run_place(equation: Equation, x: Tensor) -> Tensor:
    axis, size = equation["axis"], int(equation["size"])
    shape = list(x.shape)
    shape[axis] = size
    zeros = x.new_zeros(shape)
    if equation["step"] != 1:
        chosen = torch.arange(
            equation["start"], equation["stop"], equation["step"], device=x.device
        )
        return zeros.index_copy(zeros.ndim + axis, chosen, x)
    return zeros.slice_scatter(x, axis, int(equation["start"]), int(equation["stop"]))


row(
    Op(
        "slice", 1, "view", _slice_shape,
        lambda equation, x: x[_index(equation, x)],
        lambda equation, d, y, x: (
            d.emit("place", axis=equation["axis"], start=equation["start"], stop=equation["stop"],
                   step=equation["step"], size=x.shape[equation["axis"]]),
        ),
        (3, "{0}[{positions}]"), takes="either",
    )
)  # fmt: skip
row(
    Op(
        "place", 1, "cheap", _placed,
        _run_place,
        lambda equation, d, y, x: (
            d.emit("slice", axis=equation["axis"], start=equation["start"], stop=equation["stop"],
                   step=equation["step"]),
        ),
        (3, r"\operatorname{{place}}({0})"),
    )
)  # fmt: skip


def _run_put(equation: Equation, x: Tensor) -> Tensor:
    axis = x.ndim + equation["axis"]
    zeros = x.new_zeros((*x.shape[:axis], int(equation["size"]), *x.shape[axis + 1 :]))
    return zeros.index_add(axis, torch.tensor(equation["indices"], device=x.device), x)


def _cat_shape(*shapes: Shape | None, axis: int) -> Shape:
    if any(s is None for s in shapes):
        raise ValueError("a number can't be joined")
    return _joined([s for s in shapes if s is not None], axis)


def _joined(shapes: list[Shape], axis: int) -> Shape:
    rest = {_replace_axis(s, axis, 0) for s in shapes}
    if len(rest) != 1:
        raise ValueError("the parts differ in an axis other than the joined one")
    total = shapes[0][axis]
    for s in shapes[1:]:
        total = total + s[axis]
    return _replace_axis(shapes[0], axis, total)


def _run_cat(equation: Equation, *parts: Tensor) -> Tensor:
    rank, axis = _rank(equation), equation["axis"]
    leads = {_lead(p, rank) for p in parts}
    if len(leads) == 1:
        return torch.cat(parts, axis)
    lead = torch.broadcast_shapes(*leads)
    return torch.cat([p.expand(*lead, *p.shape[p.ndim - rank :]) for p in parts], axis)


def _cat_vjp(equation: Equation, d: Any, y: Any, *parts: Any) -> tuple[Any, ...]:
    axis, start = equation["axis"], 0
    cotangents: list[Any] = []
    for part in parts:
        stop = start + part.shape[axis]
        cotangents.append(d.emit("slice", axis=axis, start=start, stop=stop, step=1))
        start = stop
    return tuple(cotangents)


row(Op("cat", None, "cheap", _cat_shape, _run_cat, _cat_vjp, (3, "[{all}]"), takes="either"))
row(
    Op(
        "take", 1, "cheap", _taken,
        lambda equation, x: x.index_select(
            x.ndim + equation["axis"], torch.tensor(equation["indices"], device=x.device)),
        lambda equation, d, y, x: (
            d.emit("put", axis=equation["axis"], indices=equation["indices"],
                   size=x.shape[equation["axis"]]),
        ),
        (3, "{0}[{positions}]"), takes="either",
    )
)  # fmt: skip
row(
    Op(
        "put", 1, "cheap", _put,
        _run_put,
        lambda equation, d, y, x: (
            d.emit("take", axis=equation["axis"], indices=equation["indices"]),
        ),
        (3, r"\operatorname{{put}}({0})"),
    )
)  # fmt: skip
