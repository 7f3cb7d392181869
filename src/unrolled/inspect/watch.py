"""``watch``: what the recurrent layers of any model compute while it runs, and what that is worth.

Inside of ``with watch(model) as seen:`` each layer runs its own compiled equations as ever, and
beside its output keeps what is asked for: its states, values of a step by name (gates), and with
``pushes`` what gradients by its states need.  The model gives the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from unrolled.backends import BACKENDS
from unrolled.cell import Cell
from unrolled.errors import ModelError
from unrolled.inspect.pushed import pushed
from unrolled.ir import Graph, concrete
from unrolled.models.modes import evaluating
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.recurrence import run, traced
from unrolled.specs import ParamSpec, StateSpec
from unrolled.steps import Steps

Named = Callable[[Graph], Iterable[str]]
"""From a step's equations to the names of the values that are kept of it."""

_LAYERS = (Recurrent, RNN, GRU, LSTM)


@dataclass(frozen=True, eq=False)
class LayerRun:
    """One direction of one layer over a batch of sequences, in the order in which time was walked.

    Attributes:
        name: What the layer is called: ``recurrent l0``, ``recurrent l0 reverse``.
        graph: The equations of a step in evaluation.
        parameters: By the cell's names.
        x: Its input ``[T, B, D]``.
        before: The states that the sequences began with, by name ``[B, size]``.
        states: By name ``[T, B, size]``, after each step.
        values: What else was asked for, by name ``[T, B, …]``.
        lengths: The steps of each sequence, int64 ``[B]``; beyond them all are zeros.
        opposite: Whether the walk is from the end of the sequences to their beginning.
        outputs: What was handed on over time, in the form in which the layer runs.
        unpack: From that form to ``[T, B, …]`` in the order of the walk.
    """

    name: str
    graph: Graph
    parameters: Mapping[str, Tensor]
    x: Tensor
    before: Mapping[str, Tensor]
    states: Mapping[str, Tensor]
    values: Mapping[str, Tensor]
    lengths: Tensor
    opposite: bool
    outputs: tuple[Tensor, ...]
    unpack: Callable[[Tensor], Tensor]
    _input: Tensor | None

    def split(self, gradient: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A gradient by the input and the pushes as ``[T, B, D]`` and by each state's name."""
        x = self.graph.inputs[0]
        sizes = [int(v.shape[0]) for v in (x, *self.graph.states)]
        own, *states = self.unpack(gradient).split(sizes, -1)
        return own, {v.name: g for v, g in zip(self.graph.states, states, strict=True)}


@dataclass(eq=False)
class Seen:
    """What was seen: one :class:`LayerRun` for each layer and direction, in the order they ran."""

    runs: list[LayerRun] = field(default_factory=list[LayerRun])

    def once(self) -> list[LayerRun]:
        """The runs of layers that ran once each, over their whole sequences.

        Raises:
            ModelError: where one ran several times, as in a loop over time, so that no run says how
                far its states reach.
        """
        names = [run.name for run in self.runs]
        for name in names:
            if names.count(name) > 1:
                raise ModelError(
                    f"{name} ran {names.count(name)} times in one call of the model: how far "
                    "states reach is seen where a layer is given its whole sequence at once"
                )
        return self.runs

    def gradients(self, total: Tensor) -> list[tuple[Tensor, dict[str, Tensor]]]:
        """The derivatives of a number by each run's input ``[T, B, D]`` and states, by name.

        They are total derivatives: what a state at a time is worth through all that follows from
        it. Zero for a run that the number does not depend on.

        Raises:
            ValueError: where the model was watched without ``pushes``.
        """
        inputs = [run._input for run in self.runs]  # pyright: ignore[reportPrivateUsage]
        leaves = [leaf for leaf in inputs if leaf is not None]
        if len(leaves) < len(inputs):
            raise ValueError("gradients by states: watch(model, pushes=True)")
        found = torch.autograd.grad(
            total, leaves, retain_graph=True, allow_unused=True, materialize_grads=True
        )
        return [run.split(g) for run, g in zip(self.runs, found, strict=True)]


Module = TypeVar("Module", bound=nn.Module)


@contextmanager
def watch(
    model: nn.Module, values: Named | None = None, *, pushes: bool = False, cut: bool = False
) -> Generator[Seen]:
    """Watch the recurrent layers of a model, which is in evaluation mode for the time.

    Args:
        model: Any module; its recurrent layers are ours, as :func:`unrolled.convert` makes them of
            torch's.
        values: Which values of a step are kept beside the states.
        pushes: Whether :meth:`Seen.gradients` will be asked for.
        cut: Whether what a layer hands on is a leaf, so that gradients by it cross no layer.

    Raises:
        ModelError: where the model has no recurrent layers, or a parameter that is no finite
            number.
        ValueError: from the model's call, where it gives resets.
    """
    layers = recurrent_layers(model)
    seen = Seen()
    with evaluating(model):
        for path, layer in layers.items():
            layer.run_layer = _Watcher(path, layer, values, pushes, cut, seen)
        try:
            yield seen
        finally:
            for layer in layers.values():
                del layer.run_layer


def recurrent_layers(model: nn.Module) -> dict[str, Recurrent | RNN | GRU | LSTM]:
    """The recurrent layers of a model by their paths; ``recurrent`` for one that is the model.

    Raises:
        ModelError: where there is none, or one holds a number that is not finite.
    """
    modules = dict(model.named_modules())
    found = {path or "recurrent": m for path, m in modules.items() if isinstance(m, _LAYERS)}
    if not found:
        stock = [path for path, m in modules.items() if isinstance(m, nn.RNNBase)]
        advice = (
            f"{stock[0] or 'the model'} is torch's own: unrolled.convert(model) makes it ours"
            if stock
            else f"its parts are {', '.join(sorted({type(m).__name__ for m in modules.values()}))}"
        )
        raise ModelError(f"there are no recurrent layers to look into: {advice}")
    for path, layer in found.items():
        check_finite(layer, f"{path}.")
    return found


def check_finite(module: nn.Module, prefix: str = "") -> None:
    """ModelError where a parameter, named behind ``prefix``, holds a number that is not finite."""
    for name, parameter in module.named_parameters():
        bad = int((~parameter.isfinite()).sum())
        if bad:
            raise ModelError(
                f"{prefix}{name} holds {bad} numbers that are not finite (of "
                f"{parameter.numel()}): the model can't be looked into; take an earlier checkpoint"
            )


@dataclass(eq=False)
class _Watcher:
    """Stands for what runs one layer, and keeps what goes in and out."""

    path: str
    layer: Recurrent | RNN | GRU | LSTM
    values: Named | None
    pushes: bool
    cut: bool
    seen: Seen
    calls: int = 0

    def __call__(
        self,
        cell: Cell,
        x: Tensor,
        states: tuple[Tensor, ...],
        params: Mapping[str, Tensor],
        noise: Mapping[str, Tensor],
        backend: str,
        checkpoint: Any,
        steps: Steps,
        fresh: tuple[Tensor, ...],
        outputs: tuple[str, ...] = ("y",),
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        if steps.resets is not None:
            raise ValueError(
                f"{self.path}: a sequence that is looked into has no resets: cut it there"
            )
        directions = 2 if self.layer.bidirectional else 1
        name = f"{self.path} l{self.calls // directions % self.layer.num_layers}"
        name += " reverse" if self.calls % directions else ""
        self.calls += 1

        sizes = tuple((k, int(v)) for k, v in _sizes(cell, x, states, params))
        graph = traced(cell.evaluated, sizes, x.dtype)
        state_names = tuple(v.name for v in graph.states)
        wanted = tuple(self.values(graph)) if self.values else ()
        kept = tuple(dict.fromkeys([*outputs, *state_names, *wanted]))
        runs, given, leaf = cell.evaluated, x, None
        params = {k: p.detach() for k, p in params.items()}
        if self.pushes:
            n = sum(int(v.shape[0]) for v in graph.states)
            leaf = torch.zeros(*x.shape[:2], x.shape[2] + n, dtype=x.dtype, device=x.device)
            leaf.requires_grad_()
            with torch.enable_grad():
                given = torch.cat([x, x.new_zeros(*x.shape[:2], n)], -1) + leaf
            runs = _pushed_cell(cell.evaluated, sizes, x.dtype)
        chosen = backend if backend in BACKENDS else "auto"  # torch's own kernels show nothing
        found, final = run(runs, given, states, params, {}, chosen, None, steps, (), kept)
        if self.cut:
            found, final = _leaves(found), _leaves(final)
        values = dict(zip(kept, found, strict=True))
        handed = tuple(values[k] for k in outputs)
        unpack, lengths = _walked(steps, x)
        self.seen.runs.append(
            LayerRun(
                name,
                graph,
                params,
                unpack(x),
                dict(zip(state_names, states, strict=True)),
                {k: unpack(values[k]) for k in state_names},
                {k: unpack(values[k]) for k in wanted},
                lengths,
                steps.opposite,
                handed,
                unpack,
                leaf,
            )
        )
        return handed, final


def _sizes(
    cell: Cell, x: Tensor, states: Sequence[Tensor], params: Mapping[str, Tensor]
) -> Iterable[tuple[str, int]]:
    shapes = {k: tuple(p.shape) for k, p in params.items()}
    return cell.infer_sizes(x.shape[-1], [s.shape[-1] for s in states], shapes).items()


def _leaves(values: Iterable[Tensor]) -> tuple[Tensor, ...]:
    return tuple(v.detach().requires_grad_() for v in values)


def _walked(steps: Steps, x: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """How values over time become ``[T, B, …]`` in the order of the walk, and the lengths."""
    if steps.batch_sizes is None:
        lengths = torch.full((x.shape[1],), x.shape[0], dtype=torch.int64)
        return (lambda t: t.flip(0)) if steps.opposite else (lambda t: t), lengths
    sizes = torch.tensor(steps.batch_sizes)
    n_steps, batch = len(sizes), int(sizes[0])
    takes_part = torch.arange(batch) < sizes.unsqueeze(1)
    rows = takes_part.flatten().nonzero().flatten().to(x.device)
    lengths = takes_part.sum(0)
    time = torch.arange(n_steps).unsqueeze(1)
    # Where a sequence is over, the step stays where it is, which is zeros.
    taken = torch.where(takes_part, lengths - 1 - time, time) if steps.opposite else None

    def unpack(t: Tensor) -> Tensor:
        inner = t.shape[2:]
        padded = t.new_zeros(n_steps * batch, *inner).index_copy(0, rows, t[0])
        if taken is not None:
            padded = padded[(taken * batch + torch.arange(batch)).flatten().to(t.device)]
        return padded.view(n_steps, batch, *inner)

    return unpack, lengths


@lru_cache(maxsize=64)
def _pushed_cell(cell: Cell, sizes: tuple[tuple[str, int], ...], dtype: torch.dtype) -> Cell:
    """Made once, since what is compiled is kept for each cell."""
    graph = pushed(traced(cell, sizes, dtype))
    # Its input is no longer D, so the lengths stand as numbers.
    return replace(
        Cell.from_graphs([graph]),
        states=tuple(StateSpec(v.name, int(v.shape[0])) for v in graph.states),
        parameters={v.name: ParamSpec(v.name, concrete(v.shape)) for v in graph.parameters},
    )
