"""``RecurrentNode``: an ONNX RNN, GRU or LSTM node as a module that runs compiled equations."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.interop.onnx import lengths
from unrolled.interop.onnx.attributes import GATES, Attributes
from unrolled.nn.checks import check_backend
from unrolled.recurrence import recurrence

OPTIONAL = ("B", "P")
"""Weights that are 0 where a node leaves them out."""

STATES = {"RNN": ("initial_h",), "GRU": ("initial_h",), "LSTM": ("initial_h", "initial_c")}


class RecurrentNode(nn.Module):
    """What the node computes, in ONNX's own shapes; trainable.

    Args:
        attributes: what :func:`~unrolled.interop.onnx.attributes.attributes` read.
        weights: ``W`` and ``R``, and ``B`` and ``P`` where the node has them, in ONNX's shapes.
        given: what the model holds fixed of ``sequence_lens``, ``initial_h`` and ``initial_c``.
        backend: ``"auto"`` or a backend's name, as for ``unrolled.recurrence``.

    Raises ``TypeError`` or ``ValueError`` for weights of wrong dtype or shape.
    """

    def __init__(
        self,
        attributes: Attributes,
        weights: Mapping[str, Tensor],
        given: Mapping[str, Tensor] | None = None,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.attributes = attributes
        self.backend = check_backend(backend)
        self.input_size, self.hidden_size = _checked(attributes, weights)
        for name, weight in weights.items():
            self.register_parameter(name, nn.Parameter(weight.clone()))
        missing = {n: 0.0 for n in OPTIONAL if n not in weights and (n == "B" or self._is_lstm)}
        directions = range(len(attributes.reversed))
        self._cells: tuple[Cell, ...] = tuple(
            attributes.cell(d).bind(**missing) for d in directions
        )
        self._wide: tuple[Cell, ...] = tuple(
            c.bind(with_c=True) if self._is_lstm else c for c in self._cells
        )
        for name in ("sequence_lens", *STATES[attributes.op]):
            self.register_buffer(f"given_{name}", (given or {}).get(name))

    @property
    def _is_lstm(self) -> bool:
        return self.attributes.op == "LSTM"

    def forward(
        self,
        x: Tensor,
        sequence_lens: Tensor | None = None,
        initial_h: Tensor | None = None,
        initial_c: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Run the node.

        Args:
            x: [T, B, D]; with ``layout=1`` [B, T, D].
            sequence_lens: [B] integers in 1 to T; every sequence has T steps by default.
            initial_h: [directions, B, H]; with ``layout=1`` [B, directions, H]. 0 by default, or
                what the model holds.
            initial_c: the same for an LSTM's cell state.

        Returns:
            ``Y`` [T, directions, B, H] (``layout=1``: [B, T, directions, H]), 0 past a sequence's
            end, then ``Y_h`` and for an LSTM ``Y_c``, in the shape of ``initial_h``.

        Raises ``TypeError`` or ``ValueError`` for an argument of wrong type, shape or dtype.
        """
        if initial_c is not None and not self._is_lstm:
            raise TypeError(f"initial_c: a node {self.attributes.op} has no cell state")
        batch_first = self.attributes.batch_first
        if x.dim() != 3 or x.shape[-1] != self.input_size:
            form = "[B, T, D]" if batch_first else "[T, B, D]"
            raise ValueError(
                f"x must be {form} with D={self.input_size}, got the shape {list(x.shape)}"
            )
        x = x.transpose(0, 1) if batch_first else x
        given = (initial_h, initial_c)[: len(STATES[self.attributes.op])]
        initial = [
            self._initial(name, value, x)
            for name, value in zip(STATES[self.attributes.op], given, strict=True)
        ]
        ends = self._given("sequence_lens") if sequence_lens is None else sequence_lens
        if ends is not None:
            ends = lengths.checked(ends, *x.shape[:2])
        outputs: list[Tensor] = []
        finals: list[tuple[Tensor, ...]] = []
        for direction in range(len(self.attributes.reversed)):
            states = tuple(s[direction] for s in initial)
            y, final = self._direction(direction, x, states, ends)
            outputs.append(y)
            finals.append(final)
        y = torch.stack(outputs, 1)
        last = [torch.stack(rows) for rows in zip(*finals, strict=True)]
        if batch_first:
            return y.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in last)
        return y, *last

    def _direction(
        self, d: int, x: Tensor, states: tuple[Tensor, ...], ends: Tensor | None
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        reverse = self.attributes.reversed[d]
        weights = {name: weight[d] for name, weight in self.named_parameters()}
        if ends is None:
            y, final = recurrence(
                self._cells[d], x.flip(0) if reverse else x, states, weights, self.backend
            )
            return (y.flip(0) if reverse else y), final
        wide = self._wide[d]
        run = lambda x: recurrence(wide, x, states, weights, self.backend)[0]
        y, last = lengths.run(run, x, ends, reverse)
        return y[..., : self.hidden_size], last.split(self.hidden_size, -1)

    def _initial(self, name: str, value: Tensor | None, x: Tensor) -> Tensor:
        """The initial state [directions, B, H]."""
        value = self._given(name) if value is None else value
        n, batch, batch_first = len(self._cells), x.shape[1], self.attributes.batch_first
        if value is None:
            return x.new_zeros(n, batch, self.hidden_size)
        lead = (batch, n) if batch_first else (n, batch)
        if tuple(value.shape) != (*lead, self.hidden_size):
            form = "[B, directions, H]" if batch_first else "[directions, B, H]"
            raise ValueError(
                f"{name} must be {form} = {[*lead, self.hidden_size]}, got {list(value.shape)}"
            )
        return value.transpose(0, 1) if batch_first else value

    def _given(self, name: str) -> Tensor | None:
        """What the model holds of an input."""
        return getattr(self, f"given_{name}")

    def extra_repr(self) -> str:
        """The operator, the sizes and the attributes that are not at their defaults."""
        a = self.attributes
        parts = [a.op, f"input_size={self.input_size}", f"hidden_size={self.hidden_size}"]
        parts += [f"reversed={a.reversed}"] if a.reversed != (False,) else []
        parts += [f"clip={a.clip:g}"] if a.clip is not None else []
        flags = ("batch_first", "linear_before_reset", "input_forget")
        return ", ".join([*parts, *(name for name in flags if getattr(a, name))])


def _checked(attributes: Attributes, weights: Mapping[str, Tensor]) -> tuple[int, int]:
    """D and H; the weights have the shapes that follow from them."""
    op, n, gates = attributes.op, len(attributes.reversed), GATES[attributes.op]
    w, r = weights["W"], weights["R"]
    if w.dim() != 3 or r.dim() != 3:
        raise ValueError(f"{op}: W and R must have 3 axes, got {list(w.shape)}, {list(r.shape)}")
    size = r.shape[-1]
    if attributes.hidden_size not in (None, size):
        raise ValueError(f"{op}: hidden_size={attributes.hidden_size}, and R is {list(r.shape)}")
    expected = {
        "W": (n, gates * size, w.shape[-1]),
        "R": (n, gates * size, size),
        "B": (n, 2 * gates * size),
        "P": (n, 3 * size),
    }
    for name, weight in weights.items():
        if tuple(weight.shape) != expected[name]:
            raise ValueError(
                f"{op}: {name} must be {list(expected[name])} at {n} direction(s) and "
                f"hidden_size={size}, got {list(weight.shape)}"
            )
        if weight.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"{op}: {name} is {weight.dtype}: expected float32 or float64; convert the model"
            )
    return w.shape[-1], size
