"""``RNN``, ``GRU`` and ``LSTM``: torch's own three, which can also run as compiled equations.

They are subclasses of ``torch.nn``'s: a replacement that *is* a ``torch.nn.LSTM`` has its
arguments, its ``state_dict``, its first values under a seed and its pickles by construction, on
every version of torch; code that asks ``isinstance(m, torch.nn.LSTM)`` (initialisers, profilers,
quantisers, differential privacy) goes on working; and cuDNN's flat weights stay torch's own
business.  Added are ``backend``, ``graphs`` and ``explain``, and clearer errors.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from unrolled.cell import Cell
from unrolled.differentiable import torch_transforms
from unrolled.ir import Graph
from unrolled.nn import choice, stack, stock
from unrolled.nn.checks import (
    Interface,
    StateGroup,
    check_backend,
    check_forms,
    check_input,
    check_positive,
    check_states,
    describe,
    zero_states,
)
from unrolled.nn.evaluated import evaluated
from unrolled.nn.explain import explain, graphs
from unrolled.nn.parameters import layer_sizes
from unrolled.nn.sequences import Input, gather
from unrolled.nn.stream import Source, Stream
from unrolled.nn.torch_cells import BIASED, TORCH_NAMES, UNBIASED
from unrolled.packing import Lengths

Device = torch.device | str | int | None
Pair = tuple[Tensor, Tensor]


class _DropIn(nn.RNNBase):
    """What the three share: all but their arguments and the types of their states."""

    backend: str
    run_layer: stack.RunLayer = staticmethod(stack.run)

    @property
    def cell(self) -> Cell:
        """The equations of one step, in torch's parameters."""
        table = BIASED if self.bias else UNBIASED
        return table[self.mode, self.proj_size > 0]

    @property
    def output_size(self) -> int:
        """The length of an output vector, of both directions together."""
        return (self.proj_size or self.hidden_size) * len(self._directions())

    def forward(
        self,
        input: Input,
        hx: Any = None,
        *,
        lengths: Lengths | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Input, Any]:
        """Run over a batch of sequences; takes and returns what ``torch.nn``'s module does.

        ``lengths`` and ``resets`` are as for :class:`Recurrent`; with them our kernels run.

        Raises ``TypeError``, ``ValueError`` or ``RuntimeError``, as torch does, for an input or a
        state of wrong type, shape, dtype or device.
        """
        if lengths is not None or resets is not None:
            return self._compiled(input, hx, lengths, resets)
        if self._runs_ours(input):
            return self._compiled(input, hx)
        try:
            if "parametrizations" not in self._modules:
                return super().forward(input, hx)
            with parametrize.cached():  # torch reads each several times, and may draw it anew
                self._flat_weights = [getattr(self, name) for name in self._flat_weights_names]
                return super().forward(input, hx)
        except Exception as error:
            # Torch's kernels refuse all that they can't run, so a check before each call, a tenth
            # of the time of one step, would only change the words.
            try:
                self._checked(input, hx)
            except (TypeError, ValueError, RuntimeError) as clearer:
                raise clearer from None
            if torch_transforms():
                raise RuntimeError(stock.NO_RULES) from error
            raise

    def _runs_ours(self, input: object) -> bool:
        """Whether a call runs as compiled equations; if not, on torch's kernels."""
        if self.run_layer is not stack.run:
            return True
        if self.backend != "auto":
            return self.backend != stock.NAME
        return choice.runs_ours(input, self._weight(), self.batch_first)

    def _compiled(
        self,
        input: Input,
        hx: Any,
        lengths: Lengths | None = None,
        resets: Tensor | None = None,
    ) -> tuple[Input, Any]:
        if self.backend == stock.NAME and not (lengths is None and resets is None):
            raise ValueError(
                "backend='torch' has neither lengths nor resets: take another, such as 'auto', "
                "or a PackedSequence"
            )
        interface, given = self._checked(input, hx)
        check_forms(interface, input, lengths)
        batch = gather(input, batch_first=self.batch_first, lengths=lengths, resets=resets)
        single = isinstance(input, Tensor) and input.dim() == 2
        zeros = zero_states(interface.groups, None if single else batch.size, batch.data)
        dropout = self.dropout if self.training else 0.0
        y, states, _ = stack.call(
            interface.groups,
            self._layers(),
            batch,
            zeros if given is None else given,
            () if resets is None else zeros,
            stack.Options(dropout, self.backend, run_layer=self.run_layer),
        )
        return cast(Input, y), states if self.mode == "LSTM" else states[0]

    def _checked(self, input: object, hx: object) -> tuple[Interface, tuple[Tensor, ...] | None]:
        interface = self._interface()
        x = check_input(interface, input, self._weight())
        if hx is None:
            return interface, None
        given = self._given(hx)
        check_states(interface, x, given)
        return interface, given

    def stream(self, batch_size: int = 1, state: Any = None) -> Stream:
        """A stepper that runs one time step of so many streams at a time, on memory of its own.

        It starts from ``state``, as ``forward`` takes it, or from zeros, and ``reset`` puts it back
        to these.  ``ValueError`` for a bidirectional layer.
        """
        check_positive("batch_size", batch_size)
        groups = self._interface().groups
        source = Source(
            type(self).__name__,
            groups,
            tuple(sizes for _, sizes in self._sized_layers()),
            "auto" if self.backend == stock.NAME else self.backend,
            partial(self._layers, evaluated),
            lambda n: zero_states(groups, n, self._weight()),
            lambda: [*self.parameters(), *self.buffers()],
        )
        return Stream(source, batch_size, state)

    def graphs(self) -> list[Graph]:
        """The equations of one step, one Graph for each distinct size of layer."""
        return graphs(self._sized_layers(), self._weight().dtype)

    def explain(self, code: bool = False) -> str:
        """Which kernel or backend runs each layer and why; for a backend, its plan too.

        With ``code``, what the backend has generated for both loops too; torch's own kernels have
        none to show.
        """
        weight = self._weight()
        theirs = stock.explain(self.mode, self.proj_size, weight, self.backend)
        if code:
            theirs += "\n  it is a part of torch: no code is generated"
        if self.backend == stock.NAME or (self.backend == "auto" and not choice.can_run(weight)):
            return theirs
        ours = explain(
            self._sized_layers(), weight.dtype, self.backend, weight.device.type, code=code
        )
        return ours if self.backend != "auto" else f"{choice.RULE}\n{theirs}\n\n{ours}"

    def extra_repr(self) -> str:
        """The arguments that are not at their defaults."""
        chosen = "" if self.backend == "auto" else f", backend={self.backend!r}"
        return super().extra_repr() + chosen

    def _weight(self) -> Tensor:
        """One that has the dtype and device of all; never one that is computed when it is read."""
        if "parametrizations" in self._modules:
            return next(self.parameters())
        return cast(Tensor, self.weight_hh_l0)

    def _sized_layers(self) -> list[tuple[Cell, dict[str, int]]]:
        others = {"P": self.proj_size} if self.proj_size else {}
        cells, widths = [self.cell] * self.num_layers, [self.hidden_size] * self.num_layers
        sizes = layer_sizes(cells, len(self._directions()), self.input_size, widths, others)
        return list(zip(cells, sizes, strict=True))

    def _directions(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def _layers(self, read: Callable[[nn.Module, str], Tensor] = getattr) -> list[stack.Layer]:
        cell = self.cell
        return [
            stack.Layer(
                cell,
                tuple(
                    {name: read(self, f"{TORCH_NAMES[name]}_l{k}{d}") for name in cell.parameters}
                    for d in self._directions()
                ),
            )
            for k in range(self.num_layers)
        ]

    def _interface(self) -> Interface:
        output = self.proj_size or self.hidden_size
        states = (
            (("hidden[0]", output), ("hidden[1]", self.hidden_size))
            if self.mode == "LSTM"
            else (("hidden", output),)
        )
        rows = self.num_layers * len(self._directions())
        return Interface(
            module=type(self).__name__,
            input_size=self.input_size,
            batch_first=self.batch_first,
            groups=(StateGroup(rows, "layers * directions", states),),
        )

    def _given(self, hx: object) -> tuple[Tensor, ...]:
        name = type(self).__name__
        if self.mode != "LSTM":
            if not isinstance(hx, Tensor):
                raise TypeError(f"{name}: expected hx to be a Tensor h_0, got {describe(hx)}")
            return (hx,)
        if not isinstance(hx, (tuple, list)):
            raise TypeError(f"{name}: expected hx to be a tuple (h_0, c_0), got {describe(hx)}")
        pair = tuple(cast("tuple[object, ...]", hx))
        if len(pair) != 2 or not all(isinstance(s, Tensor) for s in pair):
            raise TypeError(
                f"{name}: expected hx to be a tuple (h_0, c_0) of 2 Tensors, got {describe(hx)}"
            )
        return cast(Pair, pair)


class RNN(_DropIn, nn.RNN):
    """A drop-in replacement for ``torch.nn.RNN``; ``backend`` says what runs it.

    ``"auto"``, the default, runs the compiled equations on the CPU where they are the faster, and
    wherever torch transforms or records the call; else torch's own kernels, as ``"torch"`` does
    (see :mod:`unrolled.nn.choice`). Any other name is that of a backend of ours.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            nonlinearity=nonlinearity,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )
        self.backend = check_backend(backend, stock.NAME)


class GRU(_DropIn, nn.GRU):
    """A drop-in replacement for ``torch.nn.GRU``; ``backend`` as for :class:`RNN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            device=device,
            dtype=dtype,
        )
        self.backend = check_backend(backend, stock.NAME)


class LSTM(_DropIn, nn.LSTM):
    """A drop-in replacement for ``torch.nn.LSTM``; ``backend`` as for :class:`RNN`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        backend: str = "auto",
    ) -> None:
        super().__init__(
            input_size,
            hidden_size,
            num_layers,
            bias=bias,
            batch_first=batch_first,
            dropout=dropout,
            bidirectional=bidirectional,
            proj_size=proj_size,
            device=device,
            dtype=dtype,
        )
        self.backend = check_backend(backend, stock.NAME)
