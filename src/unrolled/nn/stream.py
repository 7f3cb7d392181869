"""``Stream``: a stack of layers one time step at a time, for sequences that arrive as they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

import torch
from torch import Tensor

from unrolled.backends.protocol import Stepper
from unrolled.compiled import DTYPES
from unrolled.nn.checks import StateGroup, describe
from unrolled.nn.stack import Layer, rows, tensors
from unrolled.nn.state import State
from unrolled.recurrence import compile_step


@dataclass(frozen=True)
class Source:
    """The module that a stream runs: what stays of it, and how to read what may change.

    ``layers`` gives its cells and weights as they are now, ``initial`` the states that so many
    sequences begin with; ``watched`` are the tensors in whose numbers a change shows.
    """

    name: str
    groups: tuple[StateGroup, ...]
    sizes: tuple[Mapping[str, int], ...]
    backend: str
    layers: Callable[[], Sequence[Layer]]
    initial: Callable[[int], Sequence[Tensor]]
    watched: Callable[[], Iterable[Tensor]]


class Stream:
    """A stepper over so many streams at once, which owns its memory: a step takes none.

    It runs the forward pass alone, on the weights of evaluation as they are: a change to one in
    place is seen at the next step.  What leaves no trace is not: after writing to
    ``parameter.data``, putting another tensor in a parameter's place, or changing one in inference
    mode, call :meth:`refresh`.  Each step gives what the same steps in one sequence would, up to
    rounding.  One thread at a time may use it.
    """

    def __init__(self, source: Source, batch_size: int, state: Sequence[Tensor] | None) -> None:
        self._source = source
        layers = source.layers()
        if any(len(layer.directions) > 1 for layer in layers):
            raise ValueError(
                f"{source.name} is bidirectional, and a stream has no end to run backwards from: "
                "use bidirectional=False, or call the layer on whole windows"
            )
        # Memory that torch may write to in any mode.
        with torch.inference_mode(False), torch.no_grad():
            own = source.initial(batch_size)
            if state is not None and not any(True for _ in source.watched()):
                # Nothing but the state says in what dtype and where this computes.
                own = [s.to(state[0].device, state[0].dtype) for s in own]
            self._dtype, self._device = own[0].dtype, own[0].device
            if self._dtype not in DTYPES:
                raise TypeError(
                    f"{source.name} is {self._dtype}: a stream runs in torch.float32 or "
                    "torch.float64; convert the layer with .float()"
                )
            self._shapes = [s.shape for s in own]
            begin = own if state is None else self._checked(state)
            self._steppers: list[Stepper] = []
            of_layers = zip(layers, source.sizes, rows(source.groups, begin), strict=True)
            for layer, its_sizes, states in of_layers:
                compiled = compile_step(
                    layer.cell.evaluated, tuple(its_sizes.items()), self._dtype, ("y",), (),
                    source.backend, self._device.type,
                )  # fmt: skip
                self._steppers.append(compiled.kernel.stepper(layer.directions[0], states))
            self._shape = torch.Size((batch_size, int(source.sizes[0]["D"])))
            self._x = own[0].new_zeros(self._shape)
        self._watch()

    @property
    def state(self) -> State:
        """The states after the last step, copied, in the form in which a layer takes them."""
        return State(tensors(self._source.groups, [s.states for s in self._steppers]))

    def step(self, x: Tensor) -> Tensor:
        """One step on ``x`` [B, D]: the output [B, size], which the next step overwrites.

        ``ValueError`` or ``TypeError`` where ``x`` has another shape, dtype or device.
        """
        if (
            not isinstance(x, Tensor)
            or x.shape != self._shape
            or x.dtype is not self._dtype
            or x.device != self._device
        ):
            self._refuse(x)
        if self._version() != self._versions:
            self.refresh()
        if not x.is_contiguous() or x.is_neg():
            x = self._x.copy_(x.detach())
        for stepper in self._steppers:
            stepper.step(x)
            x = stepper.y
        return x

    __call__ = step

    def reset(self, examples: Tensor | Iterable[int] | None = None) -> None:
        """Put the state of all streams, or of these, back to the layer's own initial state.

        ``examples`` are their numbers, or a mask [B] of bool.
        """
        with torch.no_grad():
            index = slice(None) if examples is None else self._index(examples)
            self._write(self._source.initial(self._shape[0]), index)

    def load(self, state: Sequence[Tensor]) -> None:
        """Go on from this state, in the form in which a layer gives it."""
        with torch.no_grad():
            self._write(self._checked(state), slice(None))

    def refresh(self) -> None:
        """Take the weights as they are now; ``RuntimeError`` where they have become others."""
        with torch.inference_mode(False), torch.no_grad():
            layers = self._source.layers()
            for layer in layers:
                for name, p in layer.directions[0].items():
                    if p.dtype is not self._dtype or p.device != self._device:
                        raise RuntimeError(
                            f"{self._source.name}: {name} is now {p.dtype} on {p.device}, the "
                            f"stream {self._dtype} on {self._device}: make a new stream"
                        )
            for layer, stepper in zip(layers, self._steppers, strict=True):
                stepper.refresh(layer.directions[0])
        self._watch()

    def _watch(self) -> None:
        # Tensors made in inference mode count no changes.
        self._watched = [p for p in self._source.watched() if not p.is_inference()]
        self._versions = self._version()

    def _version(self) -> int:
        """A number that grows with each change to a weight in place."""
        return sum([p._version for p in self._watched])

    def _write(self, states: Sequence[Tensor], index: Tensor | slice) -> None:
        for stepper, given in zip(self._steppers, rows(self._source.groups, states), strict=True):
            for own, its in zip(stepper.states, given, strict=True):
                own[index] = its[index]

    def _index(self, examples: Tensor | Iterable[int]) -> Tensor:
        given = examples if isinstance(examples, Tensor) else list(examples)
        index = torch.as_tensor(given, device=self._device)
        n = self._shape[0]
        if index.dtype is torch.bool and index.shape == (n,):
            return index
        index = index.long() if index.numel() == 0 else index
        whole = index.dtype in (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)
        if index.dim() != 1 or not whole or not ((index >= 0) & (index < n)).all():
            raise IndexError(
                f"examples must be numbers from 0 to {n - 1} or a mask of {n} bools, got {given}"
            )
        return index.long()

    def _checked(self, state: Any) -> tuple[Tensor, ...]:
        """``state`` if it fits; ``TypeError`` or ``ValueError`` where it does not."""
        given = (state,) if isinstance(state, Tensor) else state
        if not isinstance(given, (tuple, list)) or not all(isinstance(s, Tensor) for s in given):
            raise TypeError(f"state: expected a tuple of Tensors, got {describe(state)}")
        found = tuple(cast("Sequence[Tensor]", given))
        if len(found) != len(self._shapes):
            raise ValueError(f"state: expected {len(self._shapes)} tensors, got {len(found)}")
        for its, shape in zip(found, self._shapes, strict=True):
            if its.shape != shape:
                raise ValueError(f"state: expected {list(shape)}, got {list(its.shape)}")
            if its.dtype is not self._dtype or its.device != self._device:
                raise ValueError(
                    f"state: expected {self._dtype} on {self._device}, got {its.dtype} on "
                    f"{its.device}: convert it with .to()"
                )
        return found

    def _refuse(self, x: object) -> NoReturn:
        if not isinstance(x, Tensor):
            raise TypeError(f"x must be a Tensor, got {describe(x)}")
        if x.shape != self._shape:
            raise ValueError(f"x must be [B, D] = {list(self._shape)}, got {list(x.shape)}")
        if x.device != self._device:
            raise ValueError(f"x is on {x.device}, the stream on {self._device}")
        raise TypeError(f"x is {x.dtype}, the stream {self._dtype}: convert with .to()")

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a Stream is memory of this process and can't be copied or pickled: make another with "
            "layer.stream(batch_size, stream.state)"
        )
