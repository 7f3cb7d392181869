"""Units that do nothing: tanh at its ends, relu at zero, gates that never move.

A unit is judged along all steps of all sequences that a model is run on: one that is beyond the
limit in nearly all of them passes hardly any gradient, whatever comes in.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.inspect.watch import LayerRun, watch
from unrolled.ir import Equation, Graph

NEARLY_ALL = 0.99
"""The share of the steps that counts as always."""

LIMITS = {"tanh": (-0.99, 0.99), "sigmoid": (0.01, 0.99), "relu": (0.0, float("inf"))}
"""The values at or beyond which a unit is at its end."""


@dataclass(frozen=True)
class Units:
    """The units of one activation in one layer.

    Attributes:
        layer: As :class:`LayerRun` calls it.
        value: What the cell calls it: the name of a gate, or the function and what it is taken of.
        function: "tanh", "sigmoid" or "relu".
        units: How many there are.
        low: How many are at the lower end nearly always: −0.99 of tanh, 0.01 of the sigmoid, 0 of
            relu.
        high: The same of the upper end, 0.99.
        either: How many are at one end or the other nearly always.
    """

    layer: str
    value: str
    function: str
    units: int
    low: int
    high: int
    either: int


@torch.no_grad()
def units(model: nn.Module, x: Tensor) -> tuple[Units, ...]:
    """All activations of a model's recurrent layers, on ``model(x)``.

    Raises:
        ModelError: where the model has no recurrent layers, or a parameter that is no finite
            number.
    """
    with watch(model, lambda graph: [e.out.name for e in _activations(graph)]) as seen:
        model(x)
    return tuple(found for run in seen.runs for found in _of(run))


def _activations(graph: Graph) -> list[Equation]:
    return [e for e in graph.equations if e.op in LIMITS]


def _of(run: LayerRun) -> Iterator[Units]:
    steps = torch.arange(run.x.shape[0]).unsqueeze(1) < run.lengths.cpu()
    for equation in _activations(run.graph):
        values = run.values[equation.out.name].cpu()
        if values.shape[:2] != steps.shape:
            continue  # of parameters alone
        values = values[steps].flatten(1)
        least, most = LIMITS[equation.op]
        low, high = values <= least, values >= most
        yield Units(
            run.name,
            _called(run.graph, equation),
            equation.op,
            values.shape[1],
            _always(low),
            _always(high),
            _always(low | high),
        )


def _always(there: Tensor) -> int:
    return int((there.double().mean(0) >= NEARLY_ALL).sum())


def _called(graph: Graph, equation: Equation) -> str:
    """A name of the user's, or the function of one; else its place among those of its kind."""
    name = equation.out.name
    if not _made_up(name):
        return name
    after = {new.name: s.name for s, new in zip(graph.states, graph.next_states, strict=True)}
    if name in after:
        return after[name]
    argument = getattr(equation.args[0], "name", "")
    argument = after.get(argument, argument)
    if argument and not _made_up(argument):
        return f"{equation.op}({argument})"
    alike = [e for e in graph.equations if e.op == equation.op]
    return f"{equation.op} {1 + alike.index(equation)}"


def _made_up(name: str) -> bool:
    return re.fullmatch(r"v\d+", name) is not None
