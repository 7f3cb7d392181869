"""The same sequences of several lengths run in each way: padded, with ``lengths=``, packed.

``lengths`` [B] are from 1 to T.  The gradient of the outputs is the problem's in all ways, of which
those with lengths have no part past an example's end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import unrolled as ur
from benchmarks.peers.contestant import Contestant, Tensors, in_torch, named
from benchmarks.peers.torch_nn import LAYERS, NAMES
from benchmarks.problems import Mode, Problem

Pair = tuple[Tensor, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Layer:
    """A layer with the problem's parameters; ``leaves`` are x and they, in the problem's order."""

    problem: Problem
    mode: Mode
    module: Callable[..., Any]
    initial: Any
    leaves: tuple[Tensor, ...]

    @property
    def x(self) -> Tensor:
        """[T, B, D]."""
        return self.leaves[0]

    def run(self, x: Any, **options: Any) -> tuple[Any, tuple[Tensor, ...]]:
        """The outputs in the form of ``x``, and the final states [B, H]."""
        y, final = self.module(x, self.initial, **options)
        return y, tuple(s.squeeze(0) for s in (final if isinstance(final, tuple) else (final,)))

    def contestant(self, forward: Callable[[], Pair], d_y: Tensor | None = None) -> Contestant:
        """``forward`` is called; ``d_y`` is for outputs of another form than the problem's."""
        problem = self.problem if d_y is None else replace(self.problem, d_y=d_y)
        return in_torch(problem, self.mode, forward, self.leaves)


def ours(problem: Problem, mode: Mode) -> Layer:
    """``unrolled.Recurrent`` of the problem's cell."""
    module = ur.Recurrent(problem.cell, problem.point.D, problem.point.H, backend="cpu")
    return _layer(problem, mode, module, {name: f"{name}_l0" for name in problem.params})


def torchs(problem: Problem, mode: Mode) -> Layer | None:
    """``torch.nn``'s layer; ``None`` for a cell that it has not."""
    if problem.cell.name not in LAYERS:
        return None
    module = LAYERS[problem.cell.name](problem.point.D, problem.point.H)
    return _layer(problem, mode, module, NAMES)


def _layer(problem: Problem, mode: Mode, module: nn.Module, names: dict[str, str]) -> Layer:
    x, params = problem.leaves(mode)
    module.load_state_dict({names[name]: p for name, p in params.items()})
    module.train(mode == "training")
    initial = [s.unsqueeze(0) for s in problem.states]
    weights = dict(module.named_parameters())
    leaves = (x, *(weights[names[name]] for name in params))
    given = tuple(initial) if len(initial) > 1 else initial[0]
    return Layer(problem, mode, module, given, leaves)


def padded(layer: Layer) -> Contestant:
    """All T steps of each example."""
    return layer.contestant(lambda: layer.run(layer.x))


def with_lengths(layer: Layer, lengths: Tensor) -> Contestant:
    """``lengths=``, as only our layers take it."""
    return layer.contestant(lambda: layer.run(layer.x, lengths=lengths))


def with_resets(layer: Layer, resets: Tensor) -> Contestant:
    """``resets=`` [T, B], as only our layers take it."""
    return layer.contestant(lambda: layer.run(layer.x, resets=resets))


def packed(layer: Layer, lengths: Tensor) -> Contestant:
    """A ``PackedSequence`` in and out, made of the padded x in the call; unpacked outside of it."""

    def pack(x: Tensor) -> PackedSequence:
        return pack_padded_sequence(x, lengths, enforce_sorted=False)

    def forward() -> Pair:
        y, final = layer.run(pack(layer.x))
        return y.data, final

    as_packed = pack(layer.problem.d_y)
    contestant = layer.contestant(forward, as_packed.data)

    def tensors(outcome: Any) -> Tensors:
        found = contestant.tensors(outcome)
        form = as_packed._replace(data=found["y"])
        y, _ = pad_packed_sequence(form, total_length=layer.problem.point.T)
        return {**found, "y": y}

    return Contestant(contestant.call, tensors)


def expected(layer: Layer, lengths: Tensor) -> Tensors:
    """What each way with lengths has to compute, from a padded call of our layer alone.

    Steps past an example's end change nothing before it: outputs are cut off there, states are
    those of the last step, and the outputs' gradient is zero from there on.
    """
    problem = layer.problem
    inside = (torch.arange(problem.point.T).unsqueeze(1) < lengths).unsqueeze(2)
    names = [state.name for state in problem.cell.states]
    y, _, over_time = layer.module(layer.x, layer.initial, outputs=names)
    last = (lengths - 1, torch.arange(problem.point.B))
    final = [over_time[name][0][last] for name in names]
    gradients: tuple[Tensor, ...] = ()
    if layer.mode == "training":
        gradients = torch.autograd.grad(y, layer.leaves, problem.d_y * inside)
    found = named(problem, layer.mode, y * inside, final, gradients)
    return {name: tensor.detach() for name, tensor in found.items()}


def expected_of_resets(layer: Layer, resets: Tensor) -> Tensors:
    """What a call with resets has to compute: calls of one step, states put to zero in between."""
    problem = layer.problem
    states = tuple(layer.initial) if len(problem.states) > 1 else (layer.initial,)
    ys: list[Tensor] = []
    for x, reset in zip(layer.x.split(1), resets, strict=True):
        keep = ~reset.unsqueeze(1)
        y, states = layer.module(x, tuple(s * keep for s in states))
        ys.append(y)
    y = torch.cat(ys)
    gradients: tuple[Tensor, ...] = ()
    if layer.mode == "training":
        gradients = torch.autograd.grad(y, layer.leaves, problem.d_y)
    found = named(problem, layer.mode, y, [s.squeeze(0) for s in states], gradients)
    return {name: tensor.detach() for name, tensor in found.items()}
