"""A layer as export sees it: each layer's cell, and the parameters of each of its directions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.lower import Plan, lower
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.nn.checks import StateGroup
from unrolled.nn.evaluated import evaluated
from unrolled.nn.parameters import held, layer_sizes, state_groups
from unrolled.nn.torch_cells import TORCH_NAMES
from unrolled.recurrence import traced

Params = Mapping[str, Tensor]


@dataclass(frozen=True)
class Stack:
    """A layer's structure and numbers.

    Attributes:
        cells: Each layer's cell, as it is evaluated.
        input_size: The length of the lowest layer's input.
        output_size: The length of the highest layer's output, both directions together.
        sizes: Each layer's named sizes.
        layers: The parameters of each direction of each layer.
        groups: How the states are laid out in tensors: all layers' together, or each layer's.
        initial: What each state starts from, [rows, size]; empty where that is zeros.
        batch_first: Whether the batch is the first axis of input and output.
        dtype: That of the parameters.
    """

    cells: tuple[Cell, ...]
    input_size: int
    output_size: int
    sizes: tuple[Mapping[str, int], ...]
    layers: tuple[tuple[Params, ...], ...]
    groups: tuple[StateGroup, ...]
    initial: tuple[Tensor, ...]
    batch_first: bool
    dtype: torch.dtype

    @property
    def name(self) -> str:
        """The names of the cells, each once."""
        return "_".join(dict.fromkeys(cell.name for cell in self.cells))

    @property
    def directions(self) -> int:
        """1 or 2."""
        return len(self.layers[0])

    @property
    def states(self) -> dict[str, tuple[int, int]]:
        """Each state's name with the rows [layers * directions] and length of its tensor."""
        return {
            label.removeprefix("state "): (group.rows, n)
            for group in self.groups
            for label, n in group.states
        }

    def states_of(self, layer: int) -> dict[str, int]:
        """The names and lengths of the states of a layer's cell."""
        lengths = self.cells[layer].state_sizes(self.sizes[layer])
        return {s.name: int(n) for s, n in zip(self.cells[layer].states, lengths, strict=True)}

    def place(self, layer: int) -> tuple[slice, int]:
        """Which of ``states`` are a layer's, and the row of its first direction in them."""
        if len(self.groups) == 1:
            return slice(None), layer * self.directions
        start = sum(len(group.states) for group in self.groups[:layer])
        return slice(start, start + len(self.groups[layer].states)), 0

    def plan(self, layer: int) -> Plan:
        """A layer's step, scheduled."""
        return lower(traced(self.cells[layer], tuple(self.sizes[layer].items()), self.dtype))

    def with_held(self, layer: int, params: Params) -> dict[str, Tensor]:
        """A layer's parameters with those that the cell holds at a number."""
        return {**params, **held(self.cells[layer], self.sizes[layer], self.dtype)}


def read(layer: nn.Module) -> Stack:
    """Read a layer; ``TypeError`` for any other module, or for a dtype that runtimes lack."""
    names: Mapping[str, str] = {}
    if isinstance(layer, Recurrent):
        cells, given = layer.cells, layer.layer_sizes
    elif isinstance(layer, (RNN, GRU, LSTM)):
        cells, names = (layer.cell,) * layer.num_layers, TORCH_NAMES
        others = {"P": layer.proj_size} if layer.proj_size else {}
        widths = [layer.hidden_size] * layer.num_layers
        directions = 2 if layer.bidirectional else 1
        given = layer_sizes(cells, directions, layer.input_size, widths, others)
    else:
        kind = type(layer)
        raise TypeError(
            "expected an unrolled.Recurrent, RNN, GRU or LSTM, got "
            f"{kind.__module__}.{kind.__qualname__}; ur.from_torch(module) makes ours of "
            "torch.nn's three, ur.convert(model) of all in a model"
        )
    suffixes = ("", "_reverse") if layer.bidirectional else ("",)
    layers = tuple(
        tuple(
            {
                name: evaluated(layer, f"{names.get(name, name)}_l{k}{suffix}").detach().cpu()
                for name in cell.parameters
            }
            for suffix in suffixes
        )
        for k, cell in enumerate(cells)
    )
    dtype = next((p.dtype for p in layer.parameters()), torch.get_default_dtype())
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"the parameters are {dtype}, expected torch.float32 or torch.float64; convert the "
            "layer: layer.float()"
        )
    initial: tuple[Tensor, ...] = ()
    if isinstance(layer, Recurrent) and layer.learn_initial:
        learned = (evaluated(layer, f"initial_{name}") for name in layer.state_names)
        initial = tuple(t.detach().cpu() for t in learned)
    return Stack(
        tuple(cell.evaluated for cell in cells), layer.input_size, layer.output_size, given, layers,
        state_groups(cells, given, len(suffixes)), initial, layer.batch_first, dtype,
    )  # fmt: skip
