"""``Recurrent``: any cell as a module, with layers, directions, dropout and initial states."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from unrolled.cell import Cell, as_cell
from unrolled.ir import Graph
from unrolled.nn import stack
from unrolled.nn.checks import (
    Interface,
    check_backend,
    check_forms,
    check_input,
    check_positive,
    check_probability,
    check_states,
    describe,
)
from unrolled.nn.explain import explain, graphs
from unrolled.nn.parameters import fill, layer_sizes
from unrolled.nn.sequences import Input, batch_size, gather
from unrolled.nn.state import as_state
from unrolled.nn.stream import Stream, stream
from unrolled.packing import Lengths
from unrolled.recurrence import Checkpoint, check_checkpoint


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
        learn_initial: whether the states that a sequence begins with are parameters,
            ``initial_{state}`` [layers * directions, size], which start at zero.
        checkpoint: keep only the states before every so many steps for the backward pass, or
            before every √T-th (``"sqrt"``), and compute the rest again: less memory, more time.
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
        learn_initial: bool = False,
        checkpoint: Checkpoint = None,
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
        self.checkpoint: Checkpoint = check_checkpoint(checkpoint)
        self.learn_initial = learn_initial
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
        rows = num_layers * directions
        for name, n in zip(self._initial_names(), lengths, strict=False):
            values = torch.empty(rows, int(n), device=device, dtype=dtype)
            self.register_parameter(name, nn.Parameter(values))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the cell says that they start."""
        for layer in range(self.num_layers):
            for suffix in self._suffixes(layer):
                for name, spec in self.cell.parameters.items():
                    fill(self.get_parameter(name + suffix), spec.init, self.hidden_size)
        for name in self._initial_names():
            nn.init.zeros_(self.get_parameter(name))

    def forward(
        self,
        x: Input,
        state: Tensor | Sequence[Tensor] | None = None,
        *,
        lengths: Lengths | None = None,
        resets: Tensor | None = None,
        outputs: Sequence[str] = (),
    ) -> Any:
        """Run over a batch of sequences.

        Args:
            x: [T, B, D] (with ``batch_first`` [B, T, D]), one sequence [T, D], a
                ``PackedSequence`` or a nested tensor of the jagged layout, whose sequences each
                have their own length.
            state: the initial states, one tensor [layers * directions, B, size] for each state of
                the cell (without B for one sequence); the layer's own by default, which are zeros
                or learned. A cell of one state takes the bare tensor too.
            lengths: [B] whole numbers from 0 to T, in any order, of a padded ``x``: outputs are
                zero past them, final states those after each sequence's last step, and the backward
                direction starts there. The work goes with their sum.
            resets: [T, B] of bool (with ``batch_first`` [B, T]): before such a step the states are
                put back to the layer's own initial values, whatever ``state`` was; the backward
                direction meets the same border from the other side.
            outputs: names of further outputs of each step: a state, what the cell puts out by
                name, or any value that its step gives a name, such as a gate.

        Returns:
            The outputs of the last layer in the form of ``x``, with directions * output size
            features, and the final states as a :class:`State`, a tuple in the form of ``state``.
            With ``outputs``, a dict too: for each name a tuple of one output for each layer and
            direction, in the form of ``x`` and differentiable.

        Raises ``TypeError``, ``ValueError`` or ``RuntimeError``, as torch.nn does, for an input or
        a state of wrong type, shape, dtype or device.
        """
        interface = self._interface()
        check_input(interface, x, next(self.parameters(), None))
        check_forms(interface, x, lengths)
        options = stack.Options(
            self.dropout if self.training else 0.0, self.backend, self.checkpoint, tuple(outputs)
        )
        if "y" in options.outputs:
            raise ValueError("outputs: y is the first result of every call; name others")
        batch = gather(x, batch_first=self.batch_first, lengths=lengths, resets=resets)
        if state is None:
            states = self._initial(x, batch.data)
        else:
            states = self._given(state)
            check_states(interface, x, states)
        fresh = () if resets is None else self._initial(x, batch.data)
        y, final, extras = stack.call(self.cell, self._layers(), batch, states, fresh, options)
        return (y, as_state(final), extras) if outputs else (y, as_state(final))

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """The states that a sequence begins with, [layers * directions, B, size] each."""
        like = next(self.parameters(), torch.empty(0))
        rows = self._interface().rows
        if self.learn_initial:
            learned = (getattr(self, name).unsqueeze(1) for name in self._initial_names())
            return as_state(s.expand(-1, batch_size, -1) for s in learned)
        return as_state(like.new_zeros(rows, batch_size, n) for _, n in self._states)

    def _initial(self, x: Tensor | PackedSequence, data: Tensor) -> tuple[Tensor, ...]:
        """The same in the form and on the device of ``x``, whose values inside are ``data``."""
        single = isinstance(x, Tensor) and x.dim() == 2
        n = batch_size(x, batch_first=self.batch_first)
        if self.learn_initial:
            learned = tuple(getattr(self, name) for name in self._initial_names())
            return learned if single else tuple(s.unsqueeze(1).expand(-1, n, -1) for s in learned)
        shape = (self._interface().rows,) if single else (self._interface().rows, n)
        return tuple(data.new_zeros(*shape, size) for _, size in self._states)

    def _initial_names(self) -> tuple[str, ...]:
        return tuple(f"initial_{s.name}" for s in self.cell.states) if self.learn_initial else ()

    def stream(self, batch_size: int = 1, state: Sequence[Tensor] | None = None) -> Stream:
        """A stepper that runs one time step of so many streams at a time, on memory of its own.

        It starts from ``state``, or from the layer's own initial state, to which ``reset`` puts it
        back.  ``ValueError`` for a bidirectional layer.
        """
        check_positive("batch_size", batch_size)
        initial = self.initial_state(batch_size) if state is None else self._given(state)
        name = f"Recurrent({self.cell.name})"
        return stream(name, self.cell, self._layers(), self.layer_sizes, initial, self.backend)

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
            "learn_initial": (self.learn_initial, False),
            "checkpoint": (self.checkpoint, None),
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
