"""Joining and reshaping on proxies, by torch's rules; messages name the shapes."""

from __future__ import annotations

from typing import Any

from unrolled.functions.operands import align, as_proxy, axis_of, operand, real, sequence
from unrolled.ir import n_elements
from unrolled.proxy import Proxy, register
from unrolled.sizes import as_size


def _parts(tensors: Any) -> list[Proxy]:
    anchor = next(t for t in tensors if isinstance(t, Proxy))
    parts = [operand(t, anchor) for t in tensors]
    for part in parts:
        if not isinstance(part, Proxy):
            anchor.fail("cat and stack of a number", "join vectors")
    all_conditions = all(p.value.dtype == "bool" for p in parts)
    return parts if all_conditions else list(map(real, parts))


@register("hstack")
def hstack(tensors: Any) -> Proxy:
    """Vectors one after the other, matrices side by side."""
    return cat(tensors, 1 if _parts(tensors)[0].ndim > 1 else 0)


def _listed(parts: list[Proxy]) -> str:
    return " and ".join(str(p.value) for p in parts)


@register("cat", "concat", "concatenate")
def cat(tensors: Any, dim: int = 0) -> Proxy:
    """The parts one after the other along an axis."""
    parts = _parts(tensors)
    first = parts[0]
    axis = axis_of(first, dim)
    for part in parts[1:]:
        fits = part.ndim == first.ndim and all(
            a - first.ndim == axis or p == q
            for a, (p, q) in enumerate(zip(part.shape, first.shape, strict=True))
        )
        if not fits:
            first.fail(
                f"cat of {_listed(parts)} along dimension {dim}",
                "the parts must have equal lengths in every other dimension",
            )
    return first if len(parts) == 1 else first.emit("cat", *parts[1:], axis=axis)


@register("stack")
def stack(tensors: Any, dim: int = 0) -> Proxy:
    """The parts along a new axis."""
    parts = _parts(tensors)
    for part in parts:
        if tuple(part.shape) != tuple(parts[0].shape):
            part.fail(f"stack of {_listed(parts)}", "the parts must have one shape")
    where = dim if dim >= 0 else dim + parts[0].ndim + 1
    return cat([unsqueeze(p, where) for p in parts], where)


@register("unsqueeze")
def unsqueeze(input: Any, dim: int) -> Any:
    """A new axis of length 1."""
    x = as_proxy(input)
    if not -x.ndim - 1 <= dim <= x.ndim:
        x.fail(f"a new dimension at {dim} of {x.value}", f"it may be at 0 to {x.ndim}")
    where = dim if dim >= 0 else dim + x.ndim + 1
    return x.emit("reshape", shape=(*x.shape[:where], as_size(1), *x.shape[where:]))


@register("squeeze")
def squeeze(input: Any, dim: int | None = None) -> Any:
    """Without axes of length 1."""
    x = as_proxy(input)
    axes = range(-x.ndim, 0) if dim is None else [axis_of(x, dim)]
    dropped = [a for a in axes if x.shape[a] == 1]
    shape = tuple(n for a, n in enumerate(x.shape) if a - x.ndim not in dropped)
    return x.emit("reshape", shape=shape) if dropped else x


@register("reshape", "view")
def reshape(input: Any, *shape: Any) -> Any:
    """The same elements in another shape."""
    x = as_proxy(input)
    wanted = list(sequence(shape))
    if wanted.count(-1) == 1:
        rest = n_elements(tuple(n for n in wanted if n != -1))
        known = x.numel()
        wanted[wanted.index(-1)] = known if rest == 1 else known // max(rest, 1)
    if n_elements(tuple(wanted)) != n_elements(x.shape) or any(n < 0 for n in wanted):
        x.fail(
            f"{x.value} in the shape {tuple(wanted)}",
            f"its {x.numel()} elements must fill the new shape",
        )
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
    wanted = list(sequence(shape))
    padded = [1] * (len(wanted) - x.ndim) + list(x.shape)
    full = tuple(p if n == -1 else n for p, n in zip(padded, wanted, strict=False))
    if len(wanted) < x.ndim or any(p not in (1, n) for p, n in zip(padded, full, strict=True)):
        x.fail(
            f"{x.value} expanded to {tuple(wanted)}",
            "only lengths of 1, and new dimensions on the left, can be expanded",
        )
    return x if full == tuple(x.shape) else x.emit("broadcast", shape=full)


@register("expand_as")
def expand_as(input: Any, other: Any) -> Any:
    """Repeated to another's shape."""
    return expand(input, *other.shape)


@register("broadcast_tensors")
def broadcast_tensors(*tensors: Any) -> tuple[Any, ...]:
    """All repeated to their common shape."""
    anchor = next(t for t in sequence(tensors) if isinstance(t, Proxy))
    return tuple(align(anchor, *sequence(tensors)))


@register("repeat", "tile")
def repeat(input: Any, *sizes: Any) -> Any:
    """The whole repeated along its axes."""
    x = as_proxy(input)
    times = list(sequence(sizes))
    if len(times) != x.ndim or any(int(n) < 1 for n in times):
        x.fail(
            f"repeat of {x.value} {tuple(times)} times", f"give {x.ndim} number(s), each 1 or more"
        )
    for dim, n in enumerate(times):
        x = cat([x] * int(n), dim)
    return x
