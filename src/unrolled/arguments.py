"""Whether what ``recurrence`` is called with fits its cell, and the sizes that follow from it.

A call of few steps takes microseconds, so the answer is kept for each set of types and shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from unrolled.cell import Cell
from unrolled.compiled import DTYPES

Sizes = tuple[tuple[str, int], ...]
_Signature = tuple[type, tuple[int, ...], torch.dtype, torch.device]


def sizes(
    cell: Cell,
    x: Tensor,
    states: tuple[Tensor, ...],
    params: Mapping[str, Tensor],
    packed: bool = False,
) -> Sizes:
    """The named sizes of ``cell``, such as D and H, that the arguments imply.

    ``x`` is [T, B, D], or ``packed`` [1, N, D]; ``states`` are [B, size] each.  Raises
    ``TypeError`` or ``ValueError`` where one is missing, is no tensor, or has another shape, dtype
    or device than it must have.
    """
    try:
        first, *others = [
            (type(t), t.shape, t.dtype, t.device) for t in (x, *states, *params.values())
        ]
    except AttributeError:
        raise _no_tensor(cell, x, states, params) from None
    if len(first[1]) != 3:
        raise ValueError(f"x must be [T, B, D], got the shape {list(first[1])}")
    # Its length is the one thing of x that no size follows from.
    step_shape = first[1][1:]
    if packed and others and others[0][1]:
        step_shape = (others[0][1][0], first[1][2])
    one_step = (first[0], step_shape, *first[2:])
    return _sizes(cell, one_step, tuple(others), tuple(params))


def _named(cell: Cell, states: tuple[object, ...], names: tuple[str, ...]) -> list[str]:
    """What the states and parameters are called, once there is one of each."""
    declared = ", ".join(cell.parameters) or "none"
    missing = [n for n in cell.parameters if n not in names]
    extra = [n for n in names if n not in cell.parameters]
    if missing or extra:
        wrong = f"missing: {', '.join(missing)}" if missing else f"not one: {', '.join(extra)}"
        raise TypeError(f"cell {cell.name} has the parameters {declared}; {wrong}")
    if len(states) != len(cell.states):
        state_names = ", ".join(s.name for s in cell.states)
        raise ValueError(
            f"cell {cell.name} has {len(cell.states)} state(s) ({state_names}), got {len(states)}"
        )
    return [*(s.name for s in cell.states), *names]


def _no_tensor(
    cell: Cell, x: object, states: tuple[object, ...], params: Mapping[str, object]
) -> TypeError:
    names = _named(cell, states, tuple(params))
    given = zip(("x", *names), (x, *states, *params.values()), strict=True)
    name, wrong = next((n, t) for n, t in given if not isinstance(t, Tensor))
    return TypeError(f"{name} must be a tensor, got {type(wrong).__name__}")


def check_noise(cell: Cell, x: Tensor, given: Mapping[str, Tensor], named: Sizes) -> None:
    """``TypeError`` or ``ValueError`` where the noise is not [T, B, size] for each one."""
    if given.keys() != cell.noise.keys():
        raise TypeError(
            f"cell {cell.name} has the noise {', '.join(cell.noise) or 'none'}; "
            f"got {', '.join(given) or 'none'}"
        )
    for name, size in cell.noise_sizes(dict(named)).items():
        expected, tensor = (*x.shape[:2], int(size)), given[name]
        if not isinstance(tensor, Tensor):
            raise TypeError(f"noise {name} must be a tensor, got {type(tensor).__name__}")
        if tensor.shape != expected:
            raise ValueError(
                f"noise {name} must be [T, B, {cell.noise[name].size}] = {list(expected)}, "
                f"got {list(tensor.shape)}"
            )
        if tensor.dtype != x.dtype or tensor.device != x.device:
            raise TypeError(
                f"noise {name} is {tensor.dtype} on {tensor.device}, and x {x.dtype} on "
                f"{x.device}: convert one to the other"
            )


@lru_cache(maxsize=4096)
def _sizes(
    cell: Cell, x: _Signature, others: tuple[_Signature, ...], names: tuple[str, ...]
) -> Sizes:
    """``sizes`` for the types and shapes of one step ([B, D] for ``x``), states and parameters."""
    n_states = len(others) - len(names)
    called = _named(cell, others[:n_states], names)
    for name, (kind, *_) in zip(("x", *called), (x, *others), strict=True):
        if not issubclass(kind, Tensor):
            raise TypeError(f"{name} must be a tensor, got {kind.__name__}")
    _, x_shape, dtype, device = x
    if dtype not in DTYPES:
        raise TypeError(
            f"x is {dtype}: expected torch.float32 or torch.float64; convert with x.float()"
        )
    for name, (_, _, its_dtype, its_device) in zip(called, others, strict=True):
        if its_dtype != dtype:
            raise TypeError(f"{name} is {its_dtype} and x is {dtype}: convert one to the other")
        if its_device != device:
            raise ValueError(f"{name} is on {its_device} and x on {device}: move one to the other")
    shapes = [tuple(shape) for _, shape, *_ in others]
    params = dict(zip(names, shapes[n_states:], strict=True))
    return step_sizes(cell, tuple(x_shape), shapes[:n_states], params)


def step_sizes(
    cell: Cell,
    x: tuple[int, ...],
    states: Sequence[tuple[int, ...]],
    params: Mapping[str, tuple[int, ...]],
) -> Sizes:
    """The named sizes that shapes imply: [B, D] for ``x``, [B, size] for each state.

    Raises ``ValueError`` where they don't fit.
    """
    n_examples, n_inputs = x
    found = cell.infer_sizes(n_inputs, [s[-1] if s else 0 for s in states], params)
    for name in cell.size_names():
        if name not in found:
            raise ValueError(
                f"cell {cell.name}: the size {name} does not follow from the shapes of x, "
                f"{', '.join((*(s.name for s in cell.states), *params))}: "
                "one of them does not fit its declaration"
            )
    others = {k: v for k, v in found.items() if k not in ("D", "H")}
    given = cell.resolve_sizes(n_inputs, found.get("H", 0), **others)
    expected = cell.parameter_shapes(given)
    for name, shape in params.items():
        if shape != expected[name]:
            declared = ", ".join(map(str, cell.parameters[name].shape))
            raise ValueError(
                f"parameter {name} is [{declared}] = {[int(n) for n in expected[name]]} at "
                f"{', '.join(f'{k}={v}' for k, v in given.items())}, got {list(shape)}"
            )
    for spec, size, shape in zip(cell.states, cell.state_sizes(given), states, strict=True):
        if shape != (n_examples, size):
            raise ValueError(
                f"state {spec.name} must be [B, {spec.size}] = {[n_examples, int(size)]}, "
                f"got {list(shape)}"
            )
    return tuple(given.items())
