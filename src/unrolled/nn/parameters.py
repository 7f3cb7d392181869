"""The sizes of each layer of a stack, and the values that its parameters start from."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import init

from unrolled.cell import UNIFORM, Cell, Init
from unrolled.errors import CellError
from unrolled.sizes import symbols


def layer_sizes(
    cell: Cell,
    num_layers: int,
    num_directions: int,
    input_size: int,
    hidden_size: int,
    others: Mapping[str, int],
) -> tuple[dict[str, int], ...]:
    """The cell's named sizes in each layer; ``D`` is what the layer below puts out.

    :class:`CellError` where a size is missing, or none of the cell's, or where a state's length
    differs between layers, since the states of all layers are one tensor.
    """
    shapes = [s.size for s in cell.states]
    shapes += [e for p in (*cell.parameters.values(), *cell.held.values()) for e in p.shape]
    known = {"D", "H"}.union(*map(symbols, shapes))
    for name in others:
        if name not in known - {"D", "H"}:
            raise CellError(
                f"sizes={dict(others)!r}: cell {cell.name} has no size {name} to be given",
                f"its sizes are {', '.join(sorted(known))}; D is input_size and H hidden_size",
                cell.location,
            )
    layers: list[dict[str, int]] = []
    for _ in range(num_layers):
        layers.append(cell.resolve_sizes(input_size, hidden_size, **others))
        input_size = num_directions * cell.output_size(layers[-1])
    for spec, *lengths in zip(cell.states, *map(cell.state_sizes, layers), strict=True):
        if len(set(map(int, lengths))) > 1:
            raise CellError(
                f"cell {cell.name}: state {spec.name} has the size {spec.size}, "
                f"which is {', '.join(str(int(n)) for n in lengths)} in layers "
                f"0 to {num_layers - 1}",
                "the states of all layers are one tensor: choose input_size equal to "
                "directions * output size, or use one Recurrent for each layer",
                cell.location,
            )
    return tuple(layers)


def fill(parameter: Tensor, how: Init, hidden_size: int) -> None:
    """Give ``parameter`` its first values, in place."""
    with torch.no_grad():
        if how == UNIFORM:
            bound = 1 / math.sqrt(hidden_size)
            init.uniform_(parameter, -bound, bound)
        elif callable(how):
            how(parameter)
        elif isinstance(how, (int, float)):
            parameter.fill_(how)
        else:
            raise ValueError(
                f"init={how!r} says nothing: expected {UNIFORM!r}, a number, or a function that "
                "fills a tensor in place, such as torch.nn.init.orthogonal_"
            )
