"""``Stream``: a stack of layers one time step at a time, for sequences that arrive as they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from unrolled.backends.protocol import Stepper
from unrolled.nn.checks import StateGroup
from unrolled.nn.stack import Layer, rows, tensors
from unrolled.nn.state import State
from unrolled.recurrence import compile_step


class Stream:
    """A stepper over so many streams at once, which owns its memory: a step takes none.

    It runs the forward pass alone, without dropout, on the weights of evaluation as they are; when
    they change it takes them anew at the next step (what is written to ``parameter.data`` goes
    unnoticed: call :meth:`refresh`).  Each step gives what the same steps in one sequence would, up
    to rounding.

    ``state`` is the state now, a :class:`State` of its own memory: ``clone`` it to keep it.
    """

    def __init__(
        self,
        groups: Sequence[StateGroup],
        read: Callable[[], Sequence[Layer]],
        watched: Sequence[Tensor],
        sizes: Sequence[Mapping[str, int]],
        initial: Sequence[Tensor],
        backend: str,
    ) -> None:
        self._groups = tuple(groups)
        self._initial = tuple(s.detach().clone() for s in initial)
        self._read, self._watched = read, tuple(watched)
        self._computed: list[tuple[int, str, Tensor]] = []
        self._steppers: list[Stepper] = []
        with torch.no_grad():
            of_layers = zip(read(), sizes, rows(groups, self._initial), strict=True)
            for number, (layer, its_sizes, states) in enumerate(of_layers):
                dtype, device = states[0].dtype, states[0].device.type
                cell, (given,) = layer.cell.evaluated, layer.directions
                # What is computed gets memory of its own, which refresh writes to.
                params = {
                    n: p if isinstance(p, nn.Parameter) else p.clone() for n, p in given.items()
                }
                self._computed += [(number, n, p) for n, p in params.items() if p is not given[n]]
                compiled = compile_step(
                    cell, tuple(its_sizes.items()), dtype, ("y",), (), backend, device
                )
                self._steppers.append(compiled.kernel.stepper(params, states))
        self._versions = self._version()
        self._shape = torch.Size((self._initial[0].shape[1], int(sizes[0]["D"])))
        self._dtype, self._device = self._initial[0].dtype, self._initial[0].device
        self._x = self._initial[0].new_zeros(self._shape)

    @property
    def state(self) -> State:
        """The states after the last step, copied, in the form in which a layer takes them."""
        return State(tensors(self._groups, [stepper.states for stepper in self._steppers]))

    def step(self, x: Tensor) -> Tensor:
        """One step on ``x`` [B, D]: the output [B, size], which the next step overwrites.

        ``ValueError`` or ``TypeError`` where ``x`` has another shape, dtype or device.
        """
        if x.shape != self._shape or x.dtype is not self._dtype or x.device != self._device:
            self._refuse(x)
        if self._version() != self._versions:
            self.refresh()
        if not x.is_contiguous() or x.is_neg():
            x = self._x.copy_(x)
        for stepper in self._steppers:
            stepper.step(x)
            x = stepper.y
        return x

    __call__ = step

    def reset(self, examples: Tensor | Iterable[int] | None = None) -> None:
        """Put the state back to what the stream began with, of all streams or of these.

        ``examples`` are their numbers, or a mask [B] of bool.
        """
        index: Tensor | slice = slice(None)
        if examples is not None:
            chosen = examples if isinstance(examples, Tensor) else torch.tensor([*examples])
            index = chosen.to(self._device)
        self._write(self._initial, index)

    def load(self, state: Sequence[Tensor]) -> None:
        """Go on from this state, in the form in which a layer gives it."""
        if len(state) != len(self._initial):
            raise ValueError(f"state has {len(state)} tensors, expected {len(self._initial)}")
        for given, own in zip(state, self._initial, strict=True):
            if given.shape != own.shape:
                raise ValueError(f"state: expected {list(own.shape)}, got {list(given.shape)}")
        self._write(state, slice(None))

    @torch.no_grad()
    def refresh(self) -> None:
        """Take the weights as they are now."""
        if self._computed:
            layers = self._read()
            for number, name, own in self._computed:
                own.copy_(layers[number].directions[0][name])
        for stepper in self._steppers:
            stepper.refresh()
        self._versions = self._version()

    @torch.no_grad()
    def _write(self, states: Sequence[Tensor], index: Tensor | slice) -> None:
        for stepper, given in zip(self._steppers, rows(self._groups, states), strict=True):
            for own, its in zip(stepper.states, given, strict=True):
                own[index] = its[index]

    def _version(self) -> int:
        """A number that grows with each change to a weight in place."""
        return sum([p._version for p in self._watched])

    def _refuse(self, x: Tensor) -> None:
        if x.shape != self._shape:
            raise ValueError(f"x must be [B, D] = {list(self._shape)}, got {list(x.shape)}")
        if x.device != self._device:
            raise ValueError(f"x is on {x.device}, the stream on {self._device}")
        raise TypeError(f"x is {x.dtype}, the stream {self._dtype}: convert with .to()")


def stream(
    name: str,
    groups: Sequence[StateGroup],
    read: Callable[[], Sequence[Layer]],
    watched: Sequence[Tensor],
    sizes: Sequence[Mapping[str, int]],
    initial: Sequence[Tensor],
    backend: str,
) -> Stream:
    """The stream of a stack; ``ValueError`` for a stack that runs in both directions.

    ``read`` gives the layers with their weights as they are, which follow from ``watched``.
    """
    if any(len(layer.directions) > 1 for layer in read()):
        raise ValueError(
            f"{name} is bidirectional, and a stream has no end to run backwards from: "
            "use bidirectional=False, or call the layer on whole windows"
        )
    return Stream(groups, read, watched, sizes, initial, backend)
