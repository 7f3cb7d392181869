"""A layer as export sees it: the cell, and the parameters of each direction of each layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.lower import Plan, lower
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.nn.evaluated import evaluated
from unrolled.nn.parameters import held, layer_sizes
from unrolled.nn.torch_cells import TORCH_NAMES
from unrolled.recurrence import traced

Params = Mapping[str, Tensor]


@dataclass(frozen=True)
class Stack:
    """``sizes`` has an entry for each layer, ``layers`` one more for each of its directions."""

    cell: Cell
    input_size: int
    hidden_size: int
    output_size: int
    sizes: tuple[Mapping[str, int], ...]
    layers: tuple[tuple[Params, ...], ...]
    batch_first: bool
    dtype: torch.dtype

    @property
    def directions(self) -> int:
        """1 or 2."""
        return len(self.layers[0])

    @property
    def states(self) -> dict[str, int]:
        """Each state's name and length."""
        lengths = self.cell.state_sizes(self.sizes[0])
        return {s.name: int(n) for s, n in zip(self.cell.states, lengths, strict=True)}

    def plan(self, layer: int) -> Plan:
        """A layer's step, scheduled."""
        return lower(traced(self.cell, tuple(self.sizes[layer].items()), self.dtype))

    def with_held(self, layer: int, params: Params) -> dict[str, Tensor]:
        """A layer's parameters with those that the cell holds at a number."""
        return {**params, **held(self.cell, self.sizes[layer], self.dtype)}


def read(layer: nn.Module) -> Stack:
    """Read a layer; ``TypeError`` for any other module, or for a dtype that runtimes lack."""
    if isinstance(layer, Recurrent):
        _check_alike(layer)
        names = {name: name for name in layer.cell.parameters}
        given = layer.layer_sizes
        output_size = layer.output_size
    elif isinstance(layer, (RNN, GRU, LSTM)):
        names = {name: TORCH_NAMES[name] for name in layer.cell.parameters}
        others = {"P": layer.proj_size} if layer.proj_size else {}
        n = layer.num_layers
        given = layer_sizes(
            [layer.cell] * n, 2 if layer.bidirectional else 1, layer.input_size,
            [layer.hidden_size] * n, others,
        )  # fmt: skip
        output_size = layer.output_size
    else:
        kind = type(layer)
        raise TypeError(
            "expected an unrolled.Recurrent, RNN, GRU or LSTM, got "
            f"{kind.__module__}.{kind.__qualname__}; an unrolled.LSTM takes the state_dict of a "
            "torch.nn.LSTM"
        )
    suffixes = ("", "_reverse") if layer.bidirectional else ("",)
    layers = tuple(
        tuple(
            {
                name: evaluated(layer, f"{its}_l{k}{suffix}").detach().cpu()
                for name, its in names.items()
            }
            for suffix in suffixes
        )
        for k in range(layer.num_layers)
    )
    dtype = next((p.dtype for p in layer.parameters()), torch.get_default_dtype())
    if dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"the parameters are {dtype}, expected torch.float32 or torch.float64; convert the "
            "layer: layer.float()"
        )
    return Stack(
        layer.cell.evaluated, layer.input_size, int(given[0]["H"]), output_size, given, layers,
        layer.batch_first, dtype,
    )  # fmt: skip


def _check_alike(layer: Recurrent) -> None:
    """``ValueError`` for layers of several cells or widths, or with states that are learned."""
    if len(set(layer.cells)) > 1 or not isinstance(layer.hidden_size, int):
        raise ValueError(
            "the layers have different cells or widths: export each as a Recurrent of its own"
        )
    if layer.learn_initial:
        raise ValueError(
            "learn_initial=True: a model begins with zeros or with states that it is given; export "
            "a layer without, with initial_states=True, and give it layer.initial_state(B)"
        )
