"""``Recurrent``: any cell as a module, with layers, directions, dropout and initial states."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from unrolled.cell import Cell, as_cell
from unrolled.ir import Graph
from unrolled.nn import stack
from unrolled.nn.checks import (
    Interface,
    check_backend,
    check_input,
    check_positive,
    check_probability,
    check_states,
    describe,
)
from unrolled.nn.explain import explain, graphs
from unrolled.nn.parameters import fill, layer_sizes
from unrolled.nn.sequences import Input, States


class Recurrent(nn.Module):
    """A recurrent network of any cell, ``torch.nn.LSTM``'s way.

    Args:
        cell: what ``@unrolled.cell`` made, or a textbook cell of ``unrolled.cells``.
        input_size: the length of the first layer's input, ``D`` in the cell's shapes.
        hidden_size: ``H`` in the cell's shapes.
        num_layers: how many; each layer above the first reads the outputs of the one below.
        batch_first: whether input and output are [B, T, …] instead of [T, B, …]. States are not
            affected.
        dropout: in training, the probability that an output of any layer but the last is zeroed.
        bidirectional: run each layer in both directions and put both outputs side by side.
        sizes: the cell's other named sizes, such as ``{"P": 32}``.
        backend: ``"auto"``, or the name of a backend, which raises where it can't serve.
        device: where the parameters are made.
        dtype: a floating type for the parameters.

    The parameters are called ``{name}_l{layer}`` and ``{name}_l{layer}_reverse``, and start as the
    cell says, layer by layer, direction by direction, in the order in which the cell has them.
    ``output_size`` is the length of an output vector, of both directions together.

    Under ``torch.autocast`` the layers compute in their parameters' dtype.

    Raises :class:`CellError` where the cell and the sizes do not fit together.
    """

    def __init__(
        self,
        cell: Cell,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        sizes: Mapping[str, int] | None = None,
        backend: str = "auto",
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.cell = as_cell(cell)
        self.input_size = check_positive("input_size", input_size)
        self.hidden_size = check_positive("hidden_size", hidden_size)
        self.num_layers = check_positive("num_layers", num_layers)
        self.batch_first = batch_first
        self.dropout = check_probability("dropout", dropout)
        self.bidirectional = bidirectional
        self.backend = check_backend(backend)
        if self.dropout and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} does nothing: it stands between layers, and there is only one",
                stacklevel=2,
            )
        directions = 2 if bidirectional else 1
        self.layer_sizes = layer_sizes(
            cell, num_layers, directions, input_size, hidden_size, sizes or {}
        )
        self.output_size = directions * cell.output_size(self.layer_sizes[-1])
        lengths = cell.state_sizes(self.layer_sizes[0])
        self._states = tuple(
            (f"state {spec.name}", int(n)) for spec, n in zip(cell.states, lengths, strict=True)
        )
        for layer, given in enumerate(self.layer_sizes):
            shapes = cell.parameter_shapes(given)
            for suffix in self._suffixes(layer):
                for name, shape in shapes.items():
                    values = torch.empty(tuple(map(int, shape)), device=device, dtype=dtype)
                    self.register_parameter(name + suffix, nn.Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the cell says that they start."""
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                for name, spec in self.cell.parameters.items():
                    fill(self.get_parameter(name + suffix), spec.init, self.hidden_size)

    def forward(
        self, x: Input, state: Tensor | Sequence[Tensor] | None = None
    ) -> tuple[Input, States]:
        """Run over a batch of sequences.

        Args:
            x: [T, B, D] (with ``batch_first`` [B, T, D]), one sequence [T, D], or a
                ``PackedSequence``, whose sequences each have their own length.
            state: the initial states, one tensor [layers * directions, B, size] for each state of
                the cell (without B for one sequence); zeros by default. A cell of one state takes
                the bare tensor too.

        Returns:
            The outputs of the last layer in the form of ``x``, with directions * output size
            features, and the final states in the form of ``state``, always as a tuple.

        Raises ``TypeError``, ``ValueError`` or ``RuntimeError``, as torch.nn does, for an input or
        a state of wrong type, shape, dtype or device.
        """
        interface = self._interface()
        check_input(interface, x, next(self.parameters(), None))
        given = None if state is None else self._given(state)
        if given is not None:
            check_states(interface, x, given)
        return stack.call(
            self.cell,
            interface,
            self._layers(),
            x,
            given,
            dropout=self.dropout if self.training else 0.0,
            backend=self.backend,
        )

    def graphs(self) -> list[Graph]:
        """The equations of one step, one Graph for each distinct size of layer."""
        return graphs(self.cell, self.layer_sizes, self._dtype())

    def explain(self, code: bool = False) -> str:
        """For each layer: which backend runs it, why, the plan of training it, and how it is run.

        With ``code``, what the backend has generated for both loops too.
        """
        device = next((p.device.type for p in self.parameters()), "cpu")
        return explain(self.cell, self.layer_sizes, self._dtype(), self.backend, device, code=code)

    def extra_repr(self) -> str:
        """The arguments that are not at their defaults."""
        parts = [self.cell.name, str(self.input_size), str(self.hidden_size)]
        others = {k: v for k, v in self.layer_sizes[0].items() if k not in ("D", "H")}
        defaults: dict[str, tuple[Any, Any]] = {
            "num_layers": (self.num_layers, 1),
            "batch_first": (self.batch_first, False),
            "dropout": (self.dropout, 0.0),
            "bidirectional": (self.bidirectional, False),
            "sizes": (others, {}),
            "backend": (self.backend, "auto"),
        }
        parts += [f"{k}={v!r}" for k, (v, default) in defaults.items() if v != default]
        return ", ".join(parts)

    def _dtype(self) -> torch.dtype:
        return next((p.dtype for p in self.parameters()), torch.get_default_dtype())

    def _suffixes(self, layer: int) -> tuple[str, ...]:
        return (f"_l{layer}", f"_l{layer}_reverse") if self.bidirectional else (f"_l{layer}",)

    def _layers(self) -> stack.Layers:
        return [
            [
                {name: getattr(self, name + suffix) for name in self.cell.parameters}
                for suffix in self._suffixes(layer)
            ]
            for layer in range(self.num_layers)
        ]

    def _interface(self) -> Interface:
        return Interface(
            module=f"Recurrent({self.cell.name})",
            input_size=self.input_size,
            batch_first=self.batch_first,
            rows=self.num_layers * (2 if self.bidirectional else 1),
            states=self._states,
        )

    def _given(self, state: object) -> tuple[Tensor, ...]:
        names = ", ".join(spec.name for spec in self.cell.states)
        n_states = len(self.cell.states)
        given = (state,) if isinstance(state, Tensor) and n_states == 1 else state
        if not isinstance(given, (tuple, list)) or not all(isinstance(s, Tensor) for s in given):
            raise TypeError(
                f"Recurrent({self.cell.name}): expected state to be a tuple of Tensors ({names}), "
                f"got {describe(state)}"
            )
        if len(given) != n_states:
            raise ValueError(
                f"Recurrent({self.cell.name}): expected {n_states} states ({names}), "
                f"got {len(given)}"
            )
        return tuple(cast("Sequence[Tensor]", given))
