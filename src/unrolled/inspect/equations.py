"""``equations``: what each recurrent layer of a model computes, from the graph that is compiled.

The equations as MathML and LaTeX, the parameters with their shapes, and what a time step costs, in
the loop and outside of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import nn

from unrolled.inspect.cost import Cost, cost
from unrolled.inspect.mathml import mathml
from unrolled.inspect.watch import recurrent_layers
from unrolled.ir import Graph, n_elements
from unrolled.latex import latex
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.recurrence import traced


@dataclass(frozen=True)
class Parameter:
    """A parameter of a layer, by the cell's name.

    Attributes:
        name: ``W_ih``; ``initial_h`` for a learned initial state.
        shape: Of one direction.
        named_shape: The same over the cell's sizes: ``("4*H", "D")``.
        count: Its numbers, of all directions together.
        shared: Whether every time step reads the same; an initial state is read once.
    """

    name: str
    shape: tuple[int, ...]
    named_shape: tuple[str, ...]
    count: int
    shared: bool


@dataclass(frozen=True)
class LayerEquations:
    """One layer of a model: its cell's equations, parameters and cost.

    Attributes:
        name: ``recurrent l0``.
        cell: The cell's name.
        graph: The equations of a step in evaluation.
        sizes: By name, ``{"D": 65, "H": 256}``.
        directions: 1, or 2 for a layer that also walks from the end; each has parameters of its
            own.
        parameters: In the cell's order.
    """

    name: str
    cell: str
    graph: Graph
    sizes: dict[str, int]
    directions: int
    parameters: tuple[Parameter, ...]

    @cached_property
    def latex(self) -> str:
        """For LaTeX, KaTeX or MathJax."""
        return latex(self.graph)

    @cached_property
    def mathml(self) -> str:
        """One ``<math>`` element for HTML, which browsers typeset without scripts."""
        return mathml(self.latex)

    @cached_property
    def cost(self) -> Cost:
        """Of one time step of one example in one direction."""
        return cost(self.graph)

    @property
    def count(self) -> int:
        """The numbers in all parameters."""
        return sum(p.count for p in self.parameters)

    def table(self) -> list[dict[str, str | int | bool]]:
        """A row for each parameter."""
        return [
            {
                "layer": self.name,
                "parameter": p.name,
                "shape": " × ".join(p.named_shape),
                "sizes": " × ".join(map(str, p.shape)),
                "numbers": p.count,
                "shared over time": p.shared,
            }
            for p in self.parameters
        ]

    def cost_table(self) -> list[dict[str, str | int]]:
        """A row for each place in which operations run."""
        places = {
            "before the loop, all steps at once": self.cost.before,
            "in the loop": self.cost.loop,
            "after the loop, all steps at once": self.cost.after,
            "each step": self.cost.step,
            "once a call": self.cost.once,
        }
        return [
            {
                "layer": self.name,
                "where": where,
                "multiply-adds": n.multiply_adds,
                "elementwise": n.elementwise,
                "functions": n.functions,
            }
            for where, n in places.items()
        ]


def equations(model: nn.Module) -> tuple[LayerEquations, ...]:
    """The equations of each recurrent layer of a model, from the lowest up.

    Raises:
        ModelError: where the model has no recurrent layers, or a parameter that is no finite
            number.
    """
    return tuple(
        layer for path, module in recurrent_layers(model).items() for layer in _layers(path, module)
    )


def _layers(path: str, module: Recurrent | RNN | GRU | LSTM) -> list[LayerEquations]:
    directions = 2 if module.bidirectional else 1
    learned = isinstance(module, Recurrent) and module.learn_initial
    dtype = next(module.parameters()).dtype
    found: list[LayerEquations] = []
    sized = module._sized_layers()  # pyright: ignore[reportPrivateUsage]
    for number, (cell, sizes) in enumerate(sized):
        graph = traced(cell.evaluated, tuple(sizes.items()), dtype)
        parameters = [_parameter(v.name, v.shape, directions, True) for v in graph.parameters]
        if learned:
            parameters += [
                _parameter(f"initial_{v.name}", v.shape, directions, False) for v in graph.states
            ]
        found.append(
            LayerEquations(
                f"{path} l{number}",
                cell.name,
                graph,
                {name: int(value) for name, value in sizes.items()},
                directions,
                tuple(parameters),
            )
        )
    return found


def _parameter(name: str, shape: tuple[int, ...], directions: int, shared: bool) -> Parameter:
    return Parameter(
        name,
        tuple(int(n) for n in shape),
        tuple(str(n) for n in shape),
        directions * n_elements(shape),
        shared,
    )
