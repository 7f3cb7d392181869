"""The sizes and states of each layer of a stack, and the values that its parameters start from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import init

from unrolled.cell import UNIFORM, Cell
from unrolled.errors import CellError
from unrolled.nn.checks import StateGroup
from unrolled.sizes import evaluate, symbols
from unrolled.specs import GatedInit, ParamSpec


def step_dtype(dtype: torch.dtype | None) -> torch.dtype:
    """What a step is traced in for parameters of ``dtype``; it may say float64 and nothing else."""
    double = (dtype or torch.get_default_dtype()) is torch.float64
    return torch.float64 if double else torch.float32


def layer_sizes(
    cells: Sequence[Cell],
    num_directions: int,
    input_size: int,
    hidden_sizes: Sequence[int],
    given: Mapping[str, int] | None,
    dtype: torch.dtype = torch.float32,
) -> tuple[dict[str, int], ...]:
    """The named sizes of each layer's cell; ``D`` is what the layer below puts out in ``dtype``.

    :class:`CellError` where a size is missing, or no cell's.
    """
    others = given or {}
    known = [{"D", "H", *cell.size_names()} for cell in cells]
    for name in others:
        if name in ("D", "H") or not any(name in names for names in known):
            who = ", ".join(dict.fromkeys(cell.name for cell in cells))
            declared = ", ".join(sorted(set[str]().union(*known)))
            raise CellError(
                f"sizes={dict(others)!r}: cell {who} has no size {name} to be given",
                f"its sizes are {declared}; D is input_size and H hidden_size",
                cells[0].location,
            )
    layers: list[dict[str, int]] = []
    for cell, hidden_size, names in zip(cells, hidden_sizes, known, strict=True):
        its_own = {name: n for name, n in others.items() if name in names}
        layers.append(cell.resolve_sizes(input_size, hidden_size, **its_own))
        input_size = num_directions * cell.output_size(layers[-1], dtype)
    return tuple(layers)


def state_groups(
    cells: Sequence[Cell], layers: Sequence[Mapping[str, int]], num_directions: int
) -> tuple[StateGroup, ...]:
    """How the states of all layers are laid out in tensors.

    Where the states of all layers have the same names and lengths, each is one tensor for all
    layers; else each layer's states are tensors of their own, called ``h_l0``, ``h_l1`` and so on.
    """
    of_layers = [
        tuple((f"state {spec.name}", int(n)) for spec, n in zip(cell.states, lengths, strict=True))
        for cell, lengths in zip(cells, map(Cell.state_sizes, cells, layers), strict=True)
    ]
    if len(set(of_layers)) == 1:
        return (StateGroup(len(cells) * num_directions, "layers * directions", of_layers[0]),)
    return tuple(
        StateGroup(num_directions, "directions", tuple((f"{name}_l{k}", n) for name, n in states))
        for k, states in enumerate(of_layers)
    )


def held(cell: Cell, sizes: Mapping[str, int], dtype: torch.dtype) -> dict[str, Tensor]:
    """The parameters that a cell holds at numbers, as tensors."""
    return {
        name: torch.full(
            [int(evaluate(e, sizes)) for e in spec.shape],
            float(spec.init),  # pyright: ignore[reportArgumentType]
            dtype=dtype,
        )
        for name, spec in cell.held.items()
    }


def redraw(
    module: nn.Module, specs: Mapping[str, tuple[ParamSpec, int]], zeros: Sequence[str]
) -> None:
    """Give a module's parameters their first values, by name: of a spec and a hidden size, or 0.

    ``RuntimeError`` where one is computed from others; then none is changed.
    """
    own = dict(module.named_parameters(recurse=False, remove_duplicate=False))
    for name in (*specs, *zeros):
        if name not in own:
            raise RuntimeError(
                f"{name} is computed from other parameters: take its parametrization or pruning "
                "off before reset_parameters()"
            )
    for name, (spec, hidden_size) in specs.items():
        fill(own[name], spec, hidden_size)
    for name in zeros:
        init.zeros_(own[name])


def fill(parameter: Tensor, spec: ParamSpec, hidden_size: int) -> None:
    """Give ``parameter`` its first values, in place, as ``spec`` says that it starts."""
    how = spec.init
    with torch.no_grad():
        if how == UNIFORM:
            bound = 1 / math.sqrt(hidden_size)
            init.uniform_(parameter, -bound, bound)
        elif isinstance(how, GatedInit):
            how.fill(parameter, gate_count(spec))
        elif callable(how):
            how(parameter)
        elif isinstance(how, (int, float)):
            parameter.fill_(how)
        else:
            raise ValueError(
                f"init={how!r} says nothing: expected {UNIFORM!r}, a number, or a function that "
                "fills a tensor in place, such as torch.nn.init.orthogonal_"
            )


def gate_count(spec: ParamSpec) -> int:
    """How many gates stand one below the other: 4 in ``("4*H", "D")``, 1 in ``("H+D",)``."""
    rows = spec.shape[0] if spec.shape else 1
    names = list(symbols(rows))
    if len(names) != 1:
        return 1
    once, sevenfold = (int(evaluate(rows, {names[0]: n})) for n in (1, 7))
    return once if once >= 1 and sevenfold == 7 * once else 1
