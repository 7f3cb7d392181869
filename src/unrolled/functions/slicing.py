"""Indexing and cutting on proxies, by torch's rules; messages name the shapes."""

from __future__ import annotations

from itertools import pairwise
from operator import index
from reprlib import repr as short
from typing import Any, SupportsIndex

import torch

from unrolled.functions.operands import as_proxy, axis_of, sequence
from unrolled.proxy import Proxy, register
from unrolled.sizes import as_size


def cut(x: Proxy, axis: int, start: Any, stop: Any, step: int = 1) -> Proxy:
    """``x[start:stop:step]`` along an axis counted from the end."""
    size = as_size(x.shape[axis])
    if step < 1:
        x.fail(f"a slice of {x.value} with step {step}", "steps are 1 or more")

    def bound(value: Any, default: Any) -> Any:
        if value is None:
            return default
        if int(value) < 0:
            value = size + value
        return min(max(as_size(value), as_size(0)), size)

    first, last = bound(start, as_size(0)), bound(stop, size)
    if last <= first:
        x.fail(f"an empty slice {start}:{stop} of {x.value}", "one entry or more is needed")
    return x.emit("slice", axis=axis, start=first, stop=last, step=step)


@register("__getitem__")
def getitem(x: Proxy, indices: Any) -> Any:
    """Slices, integers, ``None``, ``...`` and lists of integers, as torch indexes."""
    items = list(indices) if isinstance(indices, tuple) else [indices]  # type: ignore[arg-type]
    given = sum(i is not None and i is not Ellipsis for i in items)
    if given > x.ndim or len(items) - given - sum(i is None for i in items) > 1:
        x.fail(
            f"{given} indices for {x.value}, which has {x.ndim} dimension(s)",
            "a step sees one example, no batch",
        )
    positions = [i for i in items if not (i is None or i is Ellipsis or isinstance(i, slice))]
    if len(positions) > 1 and any(map(_is_list, positions)):
        x.fail(
            f"a list of indices for {x.value} beside another index",
            "torch pairs their entries; index in two steps, as in W[[0, 2]][:, [1, 3]]",
        )
    if not any(i is Ellipsis for i in items):
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
    if isinstance(item, Proxy):
        y.fail(
            f"{y.value} indexed by {item.value}",
            "indices must be known when the cell is compiled; use torch.where to choose by value",
        )
    if _is_list(item):
        indices = torch.as_tensor(item)
        if indices.ndim != 1 or indices.dtype != torch.int64:
            y.fail(f"an index list for {y.value} needs integers in one dimension")
        return take(y, axis, indices.tolist()), True
    if isinstance(item, bool) or not isinstance(item, SupportsIndex):
        y.fail(f"{y.value} indexed by {short(item)}", "use integers, slices and lists of integers")
    given = item if isinstance(item, int) else index(item)
    position = given + y.shape[axis] if given < 0 else as_size(given)
    if not 0 <= position < y.shape[axis]:
        y.fail(
            f"index {item} of {y.value}, which has {y.shape[axis]} entries in that dimension",
            "indices count from 0, or back from -1",
        )
    return cut(y, axis, position, position + 1), False


def _is_list(item: Any) -> bool:
    """Whether an index is a list of positions; a tensor or array without axes is one position."""
    if isinstance(item, (Proxy, int)):
        return False
    return isinstance(item, (list, tuple, range)) or getattr(item, "ndim", 0) > 0


def take(y: Proxy, axis: int, indices: list[int]) -> Proxy:
    """The entries at fixed positions along an axis, in that order, repeats allowed."""
    size = int(y.shape[axis])
    if any(not -size <= i < size for i in indices) or not indices:
        y.fail(
            f"indices {indices} of {y.value}, which has {y.shape[axis]} entries in that dimension",
            "indices count from 0, or back from -1; one or more are needed",
        )
    return y.emit("take", axis=axis, indices=tuple(i % size for i in indices))


@register("index_select")
def index_select(input: Any, dim: int, index: Any) -> Any:
    """The entries at fixed positions."""
    x = as_proxy(input)
    return take(x, axis_of(x, dim), torch.as_tensor(index).tolist())


@register("flip")
def flip(input: Any, *dims: Any) -> Any:
    """The order reversed along axes."""
    x = as_proxy(input)
    for dim in sequence(dims):
        axis = axis_of(x, dim)
        x = take(x, axis, list(range(int(x.shape[axis])))[::-1])
    return x


@register("roll")
def roll(input: Any, shifts: Any, dims: Any = None) -> Any:
    """The entries moved round by a fixed number of places."""
    x = as_proxy(input)
    dim = dims if dims is not None else 0
    if not isinstance(shifts, int) or not isinstance(dim, int) or (dims is None and x.ndim > 1):
        x.fail("roll in a cell takes one shift and one dimension")
    axis = axis_of(x, dim)
    size = int(x.shape[axis])
    return take(x, axis, [(i - shifts) % size for i in range(size)])


@register("narrow")
def narrow(input: Any, dim: int, start: int, length: int) -> Any:
    """``length`` entries from ``start`` along an axis."""
    x = as_proxy(input)
    axis = axis_of(x, dim)
    first = start + x.shape[axis] if start < 0 else start
    if not 0 <= first <= first + length <= x.shape[axis]:
        x.fail(
            f"{length} entries from {start} of {x.value} in dimension {dim}",
            f"it has {x.shape[axis]} there",
        )
    return cut(x, axis, first, first + length)


@register("select")
def select(input: Any, dim: int, index: int) -> Any:
    """One entry along an axis, which is dropped."""
    x = as_proxy(input)
    axis = axis_of(x, dim)
    return x[(*[slice(None)] * (x.ndim + axis), index)]


@register("chunk")
def chunk(input: Any, chunks: int, dim: int = 0) -> tuple[Proxy, ...]:
    """Up to ``chunks`` parts of equal length (the last may be shorter), as torch cuts them."""
    x = as_proxy(input)
    axis = axis_of(x, dim)
    size = x.shape[axis]
    if chunks < 1:
        x.fail(f"{chunks} chunks of {x.value}", "one or more are needed")
    exact = int(size) % chunks == 0
    return split(x, size // chunks if exact else -(-int(size) // chunks), dim)


@register("split", "split_with_sizes")
def split(input: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Proxy, ...]:
    """Parts of one length, or of the lengths in a list."""
    x = as_proxy(input)
    axis = axis_of(x, dim)
    size = x.shape[axis]
    if isinstance(split_size_or_sections, int):
        length = split_size_or_sections
        if length < 1:
            x.fail(f"parts of length {length} of {x.value}", "give a length of 1 or more")
        lengths = [length] * (int(size) // int(length))
        if int(size) % int(length):
            lengths.append(size - length * len(lengths))
    else:
        lengths = list(split_size_or_sections)
        if sum(int(n) for n in lengths) != int(size) or any(int(n) < 1 for n in lengths):
            x.fail(
                f"parts of lengths {lengths} of {x.value}",
                f"they must be positive and add up to {size}",
            )
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
    axis = axis_of(x, dim)
    size = x.shape[axis]
    if isinstance(indices_or_sections, int):
        n, extra = divmod(int(size), indices_or_sections)
        lengths = [n + (k < extra) for k in range(indices_or_sections)]
        if not extra:
            lengths = [size // indices_or_sections] * indices_or_sections
    else:
        ends = [0, *indices_or_sections, size]
        lengths = [b - a for a, b in pairwise(ends)]
    return split(x, lengths, dim)


@register("unbind")
def unbind(input: Any, dim: int = 0) -> tuple[Proxy, ...]:
    """Each entry along an axis."""
    x = as_proxy(input)
    return tuple(select(x, dim, k) for k in range(int(x.shape[axis_of(x, dim)])))
