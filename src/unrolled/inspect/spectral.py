"""``spectral_radius``: the largest eigenvalue of each matrix that multiplies a state.

A plain RNN's gradients explode only where its recurrent matrix has a singular value above 1/γ, γ
being the activation's largest slope, and vanish where its largest singular value is below (Pascanu,
Mikolov and Bengio 2013); the spectral radius is what repeated multiplication tends to.

The matrices are found in the equations: products of parameters with what depends on a state.  A
product over ``[h, x]`` is split, and one that is cut into named parts, as gates are, is taken part
by part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.inspect.given import one_sequence
from unrolled.inspect.watch import LayerRun
from unrolled.interpret import evaluate
from unrolled.ir import Equation, Graph, Output, Var
from unrolled.passes.concat import split_concatenated
from unrolled.passes.simplify import simplify
from unrolled.passes.stages import hoist


@dataclass(frozen=True)
class Radius:
    """One recurrent matrix.

    Attributes:
        layer: The layer's name.
        matrix: The parameters it is made of.
        rows: The rows of it that are taken, where it is cut into parts, else None.
        into: What it is a part of: the first value with a name behind the product, such as a gate.
        reads: What it multiplies: a state's name, or a value's.
        shape: Its shape.
        radius: The largest modulus of an eigenvalue; None where it is not square.
        norm: The largest singular value.
    """

    layer: str
    matrix: str
    rows: tuple[int, int] | None
    into: str
    reads: str
    shape: tuple[int, int]
    radius: float | None
    norm: float


@dataclass(frozen=True)
class Radii:
    """Those of all layers; none for a layer whose states are multiplied by no matrix."""

    matrices: tuple[Radius, ...]

    def table(self) -> list[dict[str, Any]]:
        """A row a matrix."""
        return [
            {
                "layer": m.layer,
                "matrix": m.matrix if m.rows is None else f"{m.matrix}[{m.rows[0]}:{m.rows[1]}]",
                "into": m.into,
                "reads": m.reads,
                "shape": " × ".join(map(str, m.shape)),
                "spectral radius": m.radius,
                "largest singular value": m.norm,
            }
            for m in self.matrices
        ]


def spectral_radius(model: nn.Module, x: str | Sequence[Any]) -> Radii:
    """The spectral radius of every recurrent matrix of a model, gate by gate, in float64.

    Args:
        model: Any module with recurrent layers.
        x: What it is called with, in a tuple, or a text: which layers it runs, and with which
            parameters, shows in a call. What the numbers are does not matter.

    Raises:
        ModelError: where there are no recurrent layers, or parameters are not finite.
        DataError: where the text is empty or unknown to the model.
        TypeError: where ``x`` is of another type.
        ValueError: where the layers' input or states are not finite.
    """
    return Radii(tuple(m for run, _ in one_sequence(model, x) for m in _of_layer(run)))


def _of_layer(run: LayerRun) -> list[Radius]:
    graph = simplify(split_concatenated(simplify(run.graph)))
    early = hoist(graph) | {v for v in graph.sources if v not in graph.states}
    products = [
        e
        for e in graph.equations
        if e.op == "matmul" and e.inputs[0] in early and e.inputs[1] not in early
        and len(e.inputs[1].shape) == 1
    ]  # fmt: skip
    matrices = _values(run, graph, [e.inputs[0] for e in products])
    found: list[Radius] = []
    for product, matrix in zip(products, matrices, strict=True):
        name = _source(graph, product.inputs[0])
        reads = _shown(graph, product.inputs[1])
        for rows, into in _parts(graph, product.out):
            part = matrix if rows is None else matrix[rows[0] : rows[1]]
            shape = (part.shape[0], part.shape[1])
            square = shape[0] == shape[1]
            radius = float(torch.linalg.eigvals(part).abs().max()) if square else None
            norm = float(torch.linalg.matrix_norm(part, 2))
            found.append(Radius(run.name, name, rows, into, reads, shape, radius, norm))
    return found


def _values(run: LayerRun, graph: Graph, wanted: list[Var]) -> list[Tensor]:
    """The numbers of the matrices, which are parameters or are made of these alone."""
    sources = {v.name: run.parameters[v.name].double().cpu() for v in graph.parameters}
    outputs = tuple(Output(f"{k}", v) for k, v in enumerate(wanted))
    first = Output("y", graph.states[0])
    asked = replace(graph, next_states=graph.states, outputs=(first, *outputs)).prune()
    states = tuple(s[0].double().cpu() for s in run.before.values())
    found = evaluate(asked, run.x[0, 0].double().cpu(), states, sources)
    values = found[2] if outputs else {}
    return [values[o.name] for o in outputs]


def _source(graph: Graph, matrix: Var) -> str:
    """The name of the matrix, or of the parameters that it is made of."""
    made = graph.definitions()
    todo, names = [matrix], list[str]()
    while todo:
        v = todo.pop(0)
        if v.role == "parameter" or v.role == "constant" or _named(v):
            names.append(v.name)
        else:
            todo += made[v].inputs
    return ", ".join(dict.fromkeys(names))


def _parts(graph: Graph, product: Var) -> list[tuple[tuple[int, int] | None, str]]:
    """The rows of a product that go separate ways, with what they go into.

    Followed as long as each row stays in its place: through sums, and functions of each element.
    """
    readers: dict[Var, list[Equation]] = {}
    for e in graph.equations:
        for v in e.inputs:
            readers.setdefault(v, []).append(e)
    size = int(product.shape[0])
    at, seen = product, {product}
    while not _named(at) and at not in graph.next_states:
        follow = readers.get(at, [])
        cuts = [e for e in follow if e.op == "slice" and e["step"] == 1]
        if cuts and len(cuts) == len(follow):
            cuts.sort(key=lambda e: int(e["start"]))
            return [((int(e["start"]), int(e["stop"])), _ahead(graph, e.out)) for e in cuts]
        same = [e for e in follow if e.out.shape and int(e.out.shape[0]) == size]
        if not same or same[0].out in seen:
            break
        at = same[0].out
        seen.add(at)
    return [(None, _ahead(graph, at))]


def _ahead(graph: Graph, at: Var) -> str:
    """The first name on the way from a value to the next states."""
    after = {n: s.name for s, n in zip(graph.states, graph.next_states, strict=True)}
    while True:
        if at in after:
            return after[at]
        if _named(at):
            return at.name
        following = [e.out for e in graph.equations if at in e.inputs]
        if not following:
            return at.name
        at = following[0]


def _shown(graph: Graph, v: Var) -> str:
    """A value's name, or where it has none the states and names that it is made of."""
    if v in graph.states or _named(v):
        return v.name
    made = graph.definitions()[v]
    parts = [_shown(graph, i) for i in made.inputs]
    return ", ".join(dict.fromkeys(parts)) or v.name


def _named(v: Var) -> bool:
    return not (v.name[0] == "v" and v.name[1:].isdigit())
