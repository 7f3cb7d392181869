"""What runs a stack of layers, and why, as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from unrolled.backends import BACKENDS
from unrolled.cell import Cell
from unrolled.ir import Graph
from unrolled.recurrence import Compiled, compile_step, traced

Sizes = Mapping[str, int]


def graphs(cell: Cell, layers: Sequence[Sizes], dtype: torch.dtype) -> list[Graph]:
    """The traced step of each distinct layer, from the lowest up."""
    return [traced(cell, sizes, dtype) for sizes in _distinct(layers)]


def explain(
    cell: Cell, layers: Sequence[Sizes], dtype: torch.dtype, backend: str, device: str
) -> str:
    """For each layer its backend, the reason, and the plan of training it."""
    wrt = (cell.input, *cell.parameters)
    plans: dict[str, list[str]] = {}
    for sizes, numbers in _distinct(layers).items():
        compiled = compile_step(cell, sizes, dtype, ("y",), wrt, backend, device)
        given = ", ".join(f"{name}={int(value)}" for name, value in sizes)
        plans.setdefault(str(compiled.plan), []).append(
            f"layer{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))} ({given}): "
            f"backend {compiled.backend!r}, {_reason(compiled, backend, device)}"
        )
    return "\n\n".join("\n".join([*heads, "", plan]) for plan, heads in plans.items())


def _reason(compiled: Compiled, asked: str, device: str) -> str:
    if asked != "auto":
        return "which was asked for"
    refused = {name: b.supports(compiled.plan, device) for name, b in BACKENDS.items()}
    reasons = [f"{name!r} can't: {why}" for name, why in refused.items() if why is not None]
    return "; ".join(["the first of those that can run this plan", *reasons])


def _distinct(layers: Sequence[Sizes]) -> dict[tuple[tuple[str, int], ...], list[int]]:
    """The numbers of the layers that share their sizes."""
    found: dict[tuple[tuple[str, int], ...], list[int]] = {}
    for number, sizes in enumerate(layers):
        found.setdefault(tuple(sizes.items()), []).append(number)
    return found
