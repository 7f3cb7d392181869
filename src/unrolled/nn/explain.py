"""What runs a stack of layers, and why, as text for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from unrolled.backends import BACKENDS
from unrolled.cell import Cell
from unrolled.compiled import DTYPES, Compiled
from unrolled.ir import Graph
from unrolled.recurrence import compile_step, traced

Layer = tuple[Cell, Mapping[str, int]]
"""A layer's cell, and its named sizes."""


def graphs(layers: Sequence[Layer], dtype: torch.dtype) -> list[Graph]:
    """The traced step of each distinct layer, from the lowest up."""
    return [traced(cell, sizes, dtype) for cell, sizes in _distinct(layers)]


def explain(
    layers: Sequence[Layer],
    dtype: torch.dtype,
    backend: str,
    device: str,
    *,
    code: bool,
) -> str:
    """For each layer its backend, the reason, the plan of training it, and how that is run.

    With ``code``, the generated code of both loops too; ``TypeError`` where there is none for the
    dtype.
    """
    if code and dtype not in DTYPES:
        raise TypeError(
            f"the parameters are {dtype}, and code is generated for torch.float32 and torch.float64"
        )
    sections: dict[str, _Section] = {}
    for (cell, sizes), numbers in _distinct(layers).items():
        wrt = (cell.input, *cell.parameters)
        compiled = compile_step(cell, sizes, dtype, ("y",), wrt, backend, device)
        given = ", ".join(f"{name}={int(value)}" for name, value in sizes)
        run = BACKENDS[compiled.backend].explain(compiled.plan)
        section = sections.setdefault(f"{compiled.plan}\n\n{run}", _Section())
        section.heads.append(
            f"{_layers(numbers)} ({given}): "
            f"backend {compiled.backend!r}, {_reason(compiled, backend, device)}"
        )
        for direction, backwards in (("forward", False), ("reverse", True)) if code else ():
            source = compiled.kernel.source(dtype, backwards) or _NO_CODE
            section.sources.setdefault((direction, source), []).extend(numbers)
    return "\n\n".join(section.text(body) for body, section in sections.items())


_NO_CODE = "none is generated"


@dataclass
class _Section:
    """The layers that share a plan, and each distinct text of code with the layers it is of."""

    heads: list[str] = field(default_factory=list[str])
    sources: dict[tuple[str, str], list[int]] = field(
        default_factory=dict[tuple[str, str], list[int]]
    )

    def text(self, plan: str) -> str:
        """All of it, the code last."""
        parts = ["\n".join([*self.heads, "", plan])]
        for (direction, source), numbers in self.sources.items():
            title = f"code of the {direction} loop, {_layers(numbers)}:"
            parts.append(f"{title} {source}" if source == _NO_CODE else f"{title}\n\n{source}")
        return "\n\n".join(parts)


def _layers(numbers: Sequence[int]) -> str:
    return f"layer{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"


def _reason(compiled: Compiled, asked: str, device: str) -> str:
    if asked != "auto":
        return "which was asked for"
    refused = {name: b.supports(compiled.plan, device) for name, b in BACKENDS.items()}
    reasons = [f"{name!r} can't: {why}" for name, why in refused.items() if why is not None]
    return "; ".join(["the first of those that can run this plan", *reasons])


def _distinct(layers: Sequence[Layer]) -> dict[tuple[Cell, tuple[tuple[str, int], ...]], list[int]]:
    """The numbers of the layers that share their cell and its sizes."""
    found: dict[tuple[Cell, tuple[tuple[str, int], ...]], list[int]] = {}
    for number, (cell, sizes) in enumerate(layers):
        found.setdefault((cell, tuple(sizes.items())), []).append(number)
    return found
