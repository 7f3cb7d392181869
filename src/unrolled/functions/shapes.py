"""Slicing, joining and reshaping on proxies, with torch's rules and messages that name the shapes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from unrolled.functions.arithmetic import align, as_proxy, operand
from unrolled.ir import n_elements
from unrolled.proxy import Proxy, register
from unrolled.sizes import as_size


def _axis(x: Proxy, dim: Any) -> int:
    """``dim`` counted from the end."""
    if not isinstance(dim, int) or not -x.ndim <= dim < x.ndim:
        x.fail(f"dimension {dim!r} of {x.var}, which has {x.ndim} dimension(s)")
    return dim - x.ndim if dim >= 0 else dim


def cut(x: Proxy, axis: int, start: Any, stop: Any, step: int = 1) -> Proxy:
    """``x[start:stop:step]`` along an axis counted from the end."""
    size = as_size(x.shape[axis])
    if step < 1:
        x.fail(f"a slice of {x.var} with step {step}", "steps are 1 or more")

    def bound(value: Any, default: Any) -> Any:
        if value is None:
            return default
        if int(value) < 0:
            value = size + value
        return min(max(as_size(value), as_size(0)), size)

    first, last = bound(start, as_size(0)), bound(stop, size)
    if last <= first:
        x.fail(f"an empty slice {start}:{stop} of {x.var}")
    return x.emit("slice", axis=axis, start=first, stop=last, step=step)


@register("__getitem__")
def getitem(x: Proxy, index: Any) -> Any:
    """Slices, integers, ``None``, ``...`` and lists of integers, as torch indexes."""
    items = list(index) if isinstance(index, tuple) else [index]  # type: ignore[arg-type]
    given = sum(i is not None and i is not Ellipsis for i in items)
    if given > x.ndim:
        x.fail(f"{given} indices for {x.var}, which has {x.ndim} dimension(s)")
    if Ellipsis not in [i for i in items if not isinstance(i, (Proxy, Tensor))]:
        items.append(Ellipsis)
    y, axis, shape = x, -x.ndim, []
    for item in items:
        if item is None:
            shape.append(as_size(1))
        elif item is Ellipsis:
            stop = axis + x.ndim - given
            shape += y.shape[axis + y.ndim : stop + y.ndim]
            axis = stop
        else:
            y, kept = _index(y, axis, item)
            if kept:
                shape.append(y.shape[axis])
            axis += 1
    return y if tuple(shape) == tuple(y.shape) else y.emit("reshape", shape=tuple(shape))


def _index(y: Proxy, axis: int, item: Any) -> tuple[Proxy, bool]:
    if isinstance(item, slice):
        if item == slice(None):
            return y, True
        return cut(y, axis, item.start, item.stop, 1 if item.step is None else int(item.step)), True
    if isinstance(item, (list, tuple, range, Tensor)):
        indices = torch.as_tensor(item)
        if indices.ndim != 1 or indices.dtype != torch.int64:
            y.fail(f"an index list for {y.var} needs integers in one dimension")
        return take(y, axis, indices.tolist()), True
    if isinstance(item, Proxy):
        y.fail(
            f"{y.var} indexed by the traced value {item.var}",
            "indices must be known when the cell is compiled; use torch.where to choose by value",
        )
    if not isinstance(item, int) or isinstance(item, bool):
        y.fail(f"{y.var} indexed by {type(item).__name__} {item!r}")
    position = item + y.shape[axis] if item < 0 else as_size(item)
    if not 0 <= position < y.shape[axis]:
        y.fail(f"index {item} of {y.var}: it has {y.shape[axis]} entries in that dimension")
    return cut(y, axis, position, position + 1), False


def take(y: Proxy, axis: int, indices: list[int]) -> Proxy:
    """The entries at fixed positions along an axis, in that order, repeats allowed."""
    size = int(y.shape[axis])
    if any(not -size <= i < size for i in indices) or not indices:
        y.fail(f"indices {indices} of {y.var}: it has {size} entries in that dimension")
    return y.emit("take", axis=axis, indices=tuple(i % size for i in indices))


@register("index_select")
def index_select(input: Any, dim: int, index: Any) -> Any:
    """The entries at fixed positions."""
    x = as_proxy(input)
    return take(x, _axis(x, dim), torch.as_tensor(index).tolist())


@register("flip")
def flip(input: Any, *dims: Any) -> Any:
    """The order reversed along axes."""
    x = as_proxy(input)
    for dim in _flatten(dims):
        axis = _axis(x, dim)
        x = take(x, axis, list(range(int(x.shape[axis])))[::-1])
    return x


@register("roll")
def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """The entries moved round by a fixed number of places."""
    x = as_proxy(input)
    dim = dims if dims is not None else 0
    if not isinstance(shifts, int) or not isinstance(dim, int) or (dims is None and x.ndim > 1):
        x.fail("roll in a cell takes one shift and one dimension")
    axis = _axis(x, dim)
    size = int(x.shape[axis])
    return take(x, axis, [(i - shifts) % size for i in range(size)])


@register("narrow")
def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """``length`` entries from ``start`` along an axis."""
    x = as_proxy(input)
    return cut(x, _axis(x, dim), start, start + length)


@register("select")
def select(input: Any, dim: int, index: int) -> Any:
    """One entry along an axis, which is dropped."""
    x = as_proxy(input)
    axis = _axis(x, dim)
    return x[(*[slice(None)] * (x.ndim + axis), index)]


@register("chunk")
def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Proxy, ...]:
    """Up to ``chunks`` parts of equal length (the last may be shorter), as torch cuts them."""
    x = as_proxy(input)
    axis = _axis(x, dim)
    size = x.shape[axis]
    exact = int(size) % chunks == 0
    return split(x, size // chunks if exact else -(-int(size) // chunks), dim)


@register("split", "split_with_sizes")
def split(input: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Proxy, ...]:
    """Parts of one length, or of the lengths in a list."""
    x = as_proxy(input)
    axis = _axis(x, dim)
    size = x.shape[axis]
    if isinstance(split_size_or_sections, int):
        length = split_size_or_sections
        if length < 1:
            x.fail(f"parts of length {length} of {x.var}")
        lengths = [length] * (int(size) // int(length))
        if int(size) % int(length):
            lengths.append(size - length * len(lengths))
    else:
        lengths = list(split_size_or_sections)
        if sum(int(n) for n in lengths) != int(size):
            x.fail(f"parts of lengths {lengths} of {x.var}: they don't add up to {size}")
    parts: list[Proxy] = []
    start = as_size(0)
    for length in lengths:
        parts.append(cut(x, axis, start, start + length))
        start = start + length
    return tuple(parts)


@register("tensor_split")
def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Proxy, ...]:
    """Parts that differ by one in length at most, or cut at given positions."""
    x = as_proxy(input)
    axis = _axis(x, dim)
    size = x.shape[axis]
    if isinstance(indices_or_sections, int):
        n, extra = divmod(int(size), indices_or_sections)
        lengths = [n + (k < extra) for k in range(indices_or_sections)]
        if not extra:
            lengths = [size // indices_or_sections] * indices_or_sections
    else:
        ends = [0, *indices_or_sections, size]
        lengths = [b - a for a, b in zip(ends[:-1], ends[1:], strict=True)]
    return split(x, lengths, dim)


@register("unbind")
def unbind(input: Any, dim: int = 0) -> tuple[Proxy, ...]:
    """Each entry along an axis."""
    x = as_proxy(input)
    return tuple(select(x, dim, k) for k in range(int(x.shape[_axis(x, dim)])))


def _parts(tensors: Any) -> list[Proxy]:
    anchor = next(t for t in tensors if isinstance(t, Proxy))
    parts = [operand(t, anchor) for t in tensors]
    for part in parts:
        if not isinstance(part, Proxy):
            anchor.fail("cat and stack of a number", "join vectors")
    return parts


@register("cat", "concat", "concatenate", "hstack")
def cat(tensors: Any, dim: int = 0) -> Proxy:
    """The parts one after the other along an axis."""
    parts = _parts(tensors)
    first = parts[0]
    axis = _axis(first, dim)
    for part in parts[1:]:
        fits = part.ndim == first.ndim and all(
            a - first.ndim == axis or p == q
            for a, (p, q) in enumerate(zip(part.shape, first.shape, strict=True))
        )
        if not fits:
            first.fail(f"cat of {' and '.join(str(p.var) for p in parts)} along dimension {dim}")
    return first if len(parts) == 1 else first.emit("cat", *parts[1:], axis=axis)


@register("stack")
def stack(tensors: Any, dim: int = 0) -> Proxy:
    """The parts along a new axis."""
    parts = _parts(tensors)
    for part in parts:
        if tuple(part.shape) != tuple(parts[0].shape):
            part.fail(f"stack of {' and '.join(str(p.var) for p in parts)}: their shapes differ")
    where = dim if dim >= 0 else dim + parts[0].ndim + 1
    return cat([unsqueeze(p, where) for p in parts], where)


@register("unsqueeze")
def unsqueeze(input: Any, dim: int) -> Any:
    """A new axis of length 1."""
    x = as_proxy(input)
    if not -x.ndim - 1 <= dim <= x.ndim:
        x.fail(f"a new dimension at {dim} of {x.var}")
    where = dim if dim >= 0 else dim + x.ndim + 1
    return x.emit("reshape", shape=(*x.shape[:where], as_size(1), *x.shape[where:]))


@register("squeeze")
def squeeze(input: Any, dim: int | None = None) -> Any:
    """Without axes of length 1."""
    x = as_proxy(input)
    axes = range(-x.ndim, 0) if dim is None else [_axis(x, dim)]
    dropped = [a for a in axes if x.shape[a] == 1]
    shape = tuple(n for a, n in enumerate(x.shape) if a - x.ndim not in dropped)
    return x.emit("reshape", shape=shape) if dropped else x


@register("reshape", "view")
def reshape(input: Any, *shape: Any) -> Any:
    """The same elements in another shape."""
    x = as_proxy(input)
    wanted = list(_flatten(shape))
    if wanted.count(-1) == 1:
        rest = n_elements(tuple(n for n in wanted if n != -1))
        known = x.numel()
        wanted[wanted.index(-1)] = known if rest == 1 else known // max(rest, 1)
    if n_elements(tuple(wanted)) != n_elements(x.shape):
        x.fail(f"{x.var} in the shape {tuple(wanted)}: the numbers of elements differ")
    return x.emit("reshape", shape=tuple(wanted))


@register("flatten", "ravel")
def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    """Axes joined into one."""
    x = as_proxy(input)
    first, last = start_dim % max(x.ndim, 1), end_dim % max(x.ndim, 1)
    middle: Any = as_size(1)
    for n in x.shape[first : last + 1]:
        middle = n * middle
    return x.emit("reshape", shape=(*x.shape[:first], middle, *x.shape[last + 1 :]))


@register("expand", "broadcast_to")
def expand(input: Any, *shape: Any) -> Any:
    """Repeated along axes of length 1."""
    x = as_proxy(input)
    wanted = list(_flatten(shape))
    padded = [1] * (len(wanted) - x.ndim) + list(x.shape)
    full = tuple(p if n == -1 else n for p, n in zip(padded, wanted, strict=True))
    if len(wanted) < x.ndim or any(p not in (1, n) for p, n in zip(padded, full, strict=True)):
        x.fail(f"{x.var} expanded to {tuple(wanted)}")
    return x if full == tuple(x.shape) else x.emit("broadcast", shape=full)


@register("expand_as")
def expand_as(input: Any, other: Any) -> Any:
    """Repeated to another's shape."""
    return expand(input, *as_proxy(other).shape)


@register("broadcast_tensors")
def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All repeated to their common shape."""
    anchor = next(t for t in _flatten(tensors) if isinstance(t, Proxy))
    return tuple(align(anchor, *_flatten(tensors)))


@register("repeat", "tile")
def repeat(input: Any, *sizes: Any) -> Any:
    """The whole repeated along its axes."""
    x = as_proxy(input)
    times = list(_flatten(sizes))
    if len(times) != x.ndim:
        x.fail(f"repeat of {x.var} with {len(times)} number(s) for {x.ndim} dimension(s)")
    for dim, n in enumerate(times):
        x = cat([x] * int(n), dim)
    return x


def _flatten(values: Any) -> tuple[Any, ...]:
    one = len(values) == 1 and isinstance(values[0], (tuple, list))
    return tuple(values[0]) if one else tuple(values)
