"""``Recurrent``: any cells as a module, with layers, directions, dropout and initial states."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from unrolled.backends.checkpointed import Checkpoint, check_checkpoint
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
    zero_states,
)
from unrolled.nn.evaluated import evaluated
from unrolled.nn.explain import explain, graphs
from unrolled.nn.layers import layer_count, one_a_layer
from unrolled.nn.noise import check_mean
from unrolled.nn.parameters import layer_sizes, redraw, state_groups, step_dtype
from unrolled.nn.sequences import Input, gather
from unrolled.nn.state import as_state
from unrolled.nn.stream import Source, Stream
from unrolled.packing import Lengths


class Recurrent(nn.Module):
    """A recurrent network of any cell, ``torch.nn.LSTM``'s way.

    Args:
        cell: what ``@unrolled.cell`` made, or a textbook cell of ``unrolled.cells``; or a sequence
            of cells, one a layer.
        input_size: the length of the first layer's input, ``D`` in the cell's shapes.
        hidden_size: ``H`` in the cell's shapes; or a sequence of them, one a layer.
        num_layers: how many; each layer above the first reads the outputs of the one below. By
            default as many as there are cells or hidden sizes, else one.
        batch_first: whether input and output are [B, T, …] instead of [T, B, …]. States are not
            affected.
        dropout: in training, the probability that an output of any layer but the last is zeroed.
        bidirectional: run each layer in both directions and put both outputs side by side.
        sizes: the cell's other named sizes, such as ``{"P": 32}``.
        learn_initial: whether the states that a sequence begins with are parameters,
            ``initial_{state}`` by the names of ``state_names``, which start at zero.
        checkpoint: keep only the states before every so many steps for the backward pass, or
            before every √T-th (``"sqrt"``), and compute the rest again: less memory, more time.
        backend: ``"auto"``, or the name of a backend, which raises where it can't serve.
        device: where the parameters are made.
        dtype: a floating type for the parameters.

    The parameters are called ``{name}_l{layer}`` and ``{name}_l{layer}_reverse``, and start as the
    cell says, layer by layer, direction by direction, in the order in which the cell has them.
    ``output_size`` is the length of an output vector, of both directions together.

    Where the states of all layers have the same names and lengths, a state of all layers is one
    tensor [layers * directions, B, size]; else each layer has its own, [directions, B, size], one
    layer's after the other's. ``state_names`` says which: ``("h", "c")``, or ``("h_l0", "c_l0",
    "h_l1", …)``.

    In training a cell's noise is drawn anew at each call, for each layer and direction, by torch's
    generator; in evaluation it is its mean, and ``graphs`` are those of evaluation.

    Under ``torch.autocast`` the layers compute in their parameters' dtype.

    Raises :class:`CellError` where the cell and the sizes do not fit together.
    """

    run_layer: stack.RunLayer = staticmethod(stack.run)

    def __init__(
        self,
        cell: Cell | Sequence[Cell],
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int | None = None,
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
        self.input_size = check_positive("input_size", input_size)
        self.num_layers = n = layer_count(num_layers, cell=cell, hidden_size=hidden_size)
        self.cells = tuple(as_cell(c) for c in one_a_layer(cell, n))
        widths = [check_positive("hidden_size", h) for h in one_a_layer(hidden_size, n)]
        self.hidden_size = widths[0] if len(set(widths)) == 1 else tuple(widths)
        self.batch_first = batch_first
        self.dropout = check_probability("dropout", dropout)
        self.bidirectional = bidirectional
        self.backend = check_backend(backend)
        self.checkpoint: Checkpoint = check_checkpoint(checkpoint)
        self.learn_initial = learn_initial
        if self.dropout and n == 1:
            warnings.warn(
                f"dropout={dropout} does nothing: it stands between layers, and there is only one",
                stacklevel=2,
            )
        directions = 2 if bidirectional else 1
        runs = step_dtype(dtype)
        self.layer_sizes = layer_sizes(self.cells, directions, input_size, widths, sizes, runs)
        for of_layer, given in zip(self.cells, self.layer_sizes, strict=True):
            check_mean(of_layer, given, runs)
        self.output_size = directions * self.cells[-1].output_size(self.layer_sizes[-1], runs)
        self.state_groups = state_groups(self.cells, self.layer_sizes, directions)
        self._noise = tuple(
            tuple(zip(c.noise.values(), map(int, c.noise_sizes(s).values()), strict=True))
            for c, s in zip(self.cells, self.layer_sizes, strict=True)
        )
        for layer, (of_layer, given) in enumerate(zip(self.cells, self.layer_sizes, strict=True)):
            shapes = of_layer.parameter_shapes(given)
            for suffix in self._suffixes(layer):
                for name, shape in shapes.items():
                    values = torch.empty(tuple(map(int, shape)), device=device, dtype=dtype)
                    self.register_parameter(name + suffix, nn.Parameter(values))
        if learn_initial:
            like = torch.empty(0, device=device, dtype=dtype)
            states = zero_states(self.state_groups, None, like)
            for name, zeros in zip(self._initial_names(), states, strict=True):
                self.register_parameter(name, nn.Parameter(zeros))
        self.reset_parameters()

    @property
    def cell(self) -> Cell:
        """The cell of all layers; ``ValueError`` where they have different ones."""
        first = self.cells[0]
        if any(cell is not first for cell in self.cells):
            names = ", ".join(cell.name for cell in self.cells)
            raise ValueError(f"the layers have different cells ({names}): .cells has each")
        return first

    @property
    def state_names(self) -> tuple[str, ...]:
        """What the states are called, in the order in which they are given and returned."""
        labels = [label for group in self.state_groups for label, _ in group.states]
        return tuple(label.removeprefix("state ") for label in labels)

    def state_shapes(self, batch_size: int) -> tuple[tuple[int, int, int], ...]:
        """The shape of each state for so many sequences."""
        return tuple(
            (group.rows, batch_size, n) for group in self.state_groups for _, n in group.states
        )

    def reset_parameters(self) -> None:
        """Draw all parameters anew, as the cells say that they start.

        ``RuntimeError`` where one is parametrized or pruned, so that others stand for it; then none
        is changed.
        """
        specs = {
            name + suffix: (spec, sizes["H"])
            for layer, (cell, sizes) in enumerate(self._sized_layers())
            for suffix in self._suffixes(layer)
            for name, spec in cell.parameters.items()
        }
        redraw(self, specs, self._initial_names())

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
                the cell, or [directions, B, size] for each state of each layer (see above; without
                B for one sequence); the layer's own by default, which are zeros or learned. Where
                there is one, the bare tensor will do.
            lengths: [B] whole numbers from 0 to T, in any order, of a padded ``x``: outputs are
                zero past them, final states those after each sequence's last step, and the backward
                direction starts there. The work goes with their sum.
            resets: [T, B] of bool (with ``batch_first`` [B, T]): before such a step the states are
                put back to the layer's own initial values, whatever ``state`` was; the backward
                direction meets the same border from the other side.
            outputs: names of further outputs of each step: a state, what the cell puts out by
                name, or any value that its step gives a name, such as a gate. ``"c"`` is that of
                every layer, ``"c_l0"`` that of the layer 0 alone.

        Returns:
            The outputs of the last layer in the form of ``x``, with directions * output size
            features, and the final states as a :class:`State`, a tuple in the form of ``state``.
            With ``outputs``, a dict too: for each name a tuple of one output for each layer that
            it names and each direction, in the form of ``x`` and differentiable.

        Raises ``TypeError``, ``ValueError`` or ``RuntimeError``, as torch.nn does, for an input or
        a state of wrong type, shape, dtype or device.
        """
        interface = self._interface()
        check_input(interface, x, next(self.parameters(), None))
        check_forms(interface, x, lengths)
        dropout = self.dropout if self.training else 0.0
        options = stack.Options(
            dropout, self.backend, self.checkpoint, tuple(outputs), self.run_layer
        )
        if isinstance(outputs, str):
            raise TypeError(f"outputs: expected a sequence of names, got {outputs!r}")
        if "y" in options.outputs:
            raise ValueError("outputs: y is the first result of every call; name others")
        batch = gather(x, batch_first=self.batch_first, lengths=lengths, resets=resets)
        initial = self._initial(None if batch.single else batch.size, batch.data)
        states = initial
        if state is not None:
            states = self._given(state)
            check_states(interface, x, states)
        y, final, extras = stack.call(
            self.state_groups,
            self._layers(),
            batch,
            states,
            () if resets is None else initial,
            options,
        )
        return (y, as_state(final), extras) if outputs else (y, as_state(final))

    def initial_state(self, batch_size: int) -> tuple[Tensor, ...]:
        """The states that so many sequences begin with: zeros, or learned."""
        return as_state(self._initial(batch_size, next(self.parameters(), torch.empty(0))))

    def stream(self, batch_size: int = 1, state: Sequence[Tensor] | None = None) -> Stream:
        """A stepper that runs one time step of so many streams at a time, on memory of its own.

        It starts from ``state``, or from the layer's own initial state, and ``reset`` puts it back
        to the latter.  ``ValueError`` for a bidirectional layer.
        """
        check_positive("batch_size", batch_size)
        source = Source(
            f"Recurrent({self._cell_names()})",
            self.state_groups,
            self.layer_sizes,
            self.backend,
            partial(self._layers, evaluated),
            self.initial_state,
            lambda: [*self.parameters(), *self.buffers()],
        )
        return Stream(source, batch_size, state)

    def _initial(self, n_sequences: int | None, like: Tensor) -> tuple[Tensor, ...]:
        if not self.learn_initial:
            return zero_states(self.state_groups, n_sequences, like)
        learned = tuple(getattr(self, name) for name in self._initial_names())
        if n_sequences is None:
            return learned
        return tuple(s.unsqueeze(1).expand(-1, n_sequences, -1) for s in learned)

    def _initial_names(self) -> tuple[str, ...]:
        return tuple(f"initial_{n}" for n in self.state_names) if self.learn_initial else ()

    def graphs(self) -> list[Graph]:
        """The equations of one step in evaluation, one Graph for each distinct size of layer."""
        layers = [(cell.evaluated, sizes) for cell, sizes in self._sized_layers()]
        return graphs(layers, self._dtype())

    def explain(self, code: bool = False) -> str:
        """For each layer: which backend runs it, why, the plan of training it, and how it is run.

        With ``code``, what the backend has generated for both loops too.
        """
        device = next((p.device.type for p in self.parameters()), "cpu")
        return explain(self._sized_layers(), self._dtype(), self.backend, device, code=code)

    def extra_repr(self) -> str:
        """The arguments that are not at their defaults."""
        parts = [self._cell_names(), str(self.input_size), str(self.hidden_size)]
        others = {k: v for s in self.layer_sizes for k, v in s.items() if k not in ("D", "H")}
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

    def _cell_names(self) -> str:
        names = [cell.name for cell in self.cells]
        return names[0] if len(set(names)) == 1 else f"[{', '.join(names)}]"

    def _sized_layers(self) -> list[tuple[Cell, dict[str, int]]]:
        return list(zip(self.cells, self.layer_sizes, strict=True))

    def _layers(self, read: Callable[[nn.Module, str], Tensor] = getattr) -> list[stack.Layer]:
        return [
            stack.Layer(
                cell,
                tuple(
                    {name: read(self, name + suffix) for name in cell.parameters}
                    for suffix in self._suffixes(layer)
                ),
                self._noise[layer] if self.training else (),
            )
            for layer, cell in enumerate(self.cells)
        ]

    def _interface(self) -> Interface:
        return Interface(
            module=f"Recurrent({self._cell_names()})",
            input_size=self.input_size,
            batch_first=self.batch_first,
            groups=self.state_groups,
        )

    def _given(self, state: object) -> tuple[Tensor, ...]:
        names = self.state_names
        listed, n_states = ", ".join(names), len(names)
        given = (state,) if isinstance(state, Tensor) and n_states == 1 else state
        if not isinstance(given, (tuple, list)) or not all(isinstance(s, Tensor) for s in given):
            raise TypeError(
                f"Recurrent({self._cell_names()}): expected state to be a tuple of Tensors "
                f"({listed}), got {describe(state)}"
            )
        if len(given) != n_states:
            raise ValueError(
                f"Recurrent({self._cell_names()}): expected {n_states} states ({listed}), "
                f"got {len(given)}"
            )
        return tuple(cast("Sequence[Tensor]", given))
