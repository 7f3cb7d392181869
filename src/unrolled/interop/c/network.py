"""What is exported, in one form: layers of equations with their parameters, one above the other.

A language model's output is a layer too, without states; its tokens become vectors by an embedding
or as one-hot vectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from unrolled.builder import Builder
from unrolled.cell import Cell
from unrolled.errors import UserError
from unrolled.ir import Graph, Output, Var
from unrolled.models.language_model import LanguageModel
from unrolled.nn import Recurrent
from unrolled.nn.evaluated import evaluated
from unrolled.nn.parameters import layer_sizes
from unrolled.nn.stack import rows
from unrolled.nn.torch_cells import BIASED, TORCH_NAMES, UNBIASED
from unrolled.recurrence import traced
from unrolled.sizes import named, solve


@dataclass(frozen=True)
class Layer:
    """The equations of a step, what they are called after, and their numbers.

    Attributes:
        label: What the layer's names end in, such as ``l0``.
        graph: One step.
        parameters: The parameters by their names in the graph, float32 on the CPU.
        initial: What each state starts from [size]; zeros where ``None``.
    """

    label: str
    graph: Graph
    parameters: Mapping[str, Tensor]
    initial: tuple[Tensor, ...] | None = None


@dataclass(frozen=True)
class Network:
    """Layers, from the input up; ``tokens`` is 0 where the input is a vector.

    Attributes:
        name: What it is called where nobody says.
        layers: The layers.
        tokens: How many tokens there are.
        embedding: The vector of each token [tokens, size]; one-hot vectors where ``None``.
    """

    name: str
    layers: tuple[Layer, ...]
    tokens: int = 0
    embedding: Tensor | None = None

    @property
    def input_size(self) -> int:
        """The length of the lowest layer's input."""
        return int(self.layers[0].graph.inputs[0].shape[0])

    @property
    def output_size(self) -> int:
        """The length of the highest layer's output."""
        return int(self.layers[-1].graph.outputs[0].var.shape[0])


def read(
    model: Cell | nn.Module,
    parameters: Mapping[str, Tensor] | None,
    state: Tensor | Sequence[Tensor] | None,
) -> Network:
    """The network that a cell with ``parameters``, a layer or a language model is.

    ``TypeError`` for anything else, ``UserError`` for what C can't have.
    """
    if isinstance(model, Cell):
        network = _cell(model, parameters)
    elif parameters is not None:
        raise TypeError("parameters= goes with a cell: a layer and a model have their own")
    elif isinstance(model, LanguageModel):
        network = _language_model(model)
    elif isinstance(model, (Recurrent, nn.RNNBase)):
        network = Network(_name(model), _layers(model))
    else:
        raise TypeError(
            f"expected a cell, a recurrent layer or a LanguageModel, got {type(model).__name__}: "
            "of a network of your own, export its recurrent layer"
        )
    return network if state is None else _started(network, state)


def _cell(cell: Cell, parameters: Mapping[str, Tensor] | None) -> Network:
    given = dict(parameters or {})
    missing = [n for n in cell.parameters if n not in given]
    extra = [n for n in given if n not in cell.parameters]
    if missing or extra:
        wrong = f"missing: {', '.join(missing)}" if missing else f"not one: {', '.join(extra)}"
        declared = ", ".join(cell.parameters) or "none"
        raise TypeError(
            f"cell {cell.name} has the parameters {declared}; {wrong}: give a tensor for each as "
            "parameters=, or export a layer, Recurrent(cell, ...)"
        )
    shapes = {name: tuple(t.shape) for name, t in given.items()}
    pairs = [
        pair
        for name, spec in cell.parameters.items()
        for pair in zip(spec.shape, shapes[name], strict=False)
    ]
    sizes = solve(pairs)
    unknown = [s for s in ("D", "H", *cell.size_names()) if s not in sizes]
    if unknown:
        raise UserError(
            f"the sizes {', '.join(dict.fromkeys(unknown))} of cell {cell.name} don't follow from "
            "its parameters: export a layer, Recurrent(cell, input_size, hidden_size)"
        )
    expected = {n: tuple(map(int, s)) for n, s in cell.parameter_shapes(sizes).items()}
    for name, shape in expected.items():
        if shapes[name] != shape:
            raise UserError(
                f"the parameter {name} of cell {cell.name} is {list(shapes[name])}, "
                f"expected {list(shape)}"
            )
    graph = traced(cell.evaluated, tuple(sizes.items()), torch.float32)
    return Network(cell.name, (Layer("l0", graph, _numbers(given)),))


def _name(layer: Recurrent | nn.RNNBase) -> str:
    if not isinstance(layer, Recurrent):
        return layer.mode.partition("_")[0].lower()
    return "_".join(dict.fromkeys(cell.name for cell in layer.cells))


def _layers(layer: Recurrent | nn.RNNBase) -> tuple[Layer, ...]:
    if layer.bidirectional:
        raise UserError(
            "a bidirectional layer can't run step by step: its reverse direction begins at the "
            "sequence's end, which a step has not seen; export one with bidirectional=False"
        )
    if isinstance(layer, Recurrent):
        cells, sizes = [cell.evaluated for cell in layer.cells], layer.layer_sizes
        names: dict[str, str] = {}
    else:
        n = layer.num_layers
        cells = [(BIASED if layer.bias else UNBIASED)[layer.mode, layer.proj_size > 0]] * n
        others = {"P": layer.proj_size} if layer.proj_size else {}
        sizes = layer_sizes(cells, 1, layer.input_size, [layer.hidden_size] * n, others)
        names = TORCH_NAMES
    initial: Sequence[tuple[Tensor, ...] | None] = [None] * len(cells)
    if isinstance(layer, Recurrent) and layer.learn_initial:
        initial = _learned(layer)
    found: list[Layer] = []
    for k, (cell, given) in enumerate(zip(cells, sizes, strict=True)):
        own = {n: evaluated(layer, f"{names.get(n, n)}_l{k}") for n in cell.parameters}
        graph = traced(cell, tuple(given.items()), torch.float32)
        found.append(Layer(f"l{k}", graph, _numbers(own), initial[k]))
    return tuple(found)


def _learned(layer: Recurrent) -> list[tuple[Tensor, ...]]:
    """The states that each layer has learned to begin with."""
    learned = _numbers({n: evaluated(layer, f"initial_{n}") for n in layer.state_names})
    return rows(layer.state_groups, list(learned.values()))


def _language_model(model: LanguageModel) -> Network:
    size = len(model.vocabulary)
    embedding = None
    if model.embedding is not None:
        embedding = _numbers({"embedding.weight": evaluated(model.embedding, "weight")})[
            "embedding.weight"
        ]
    if model.output_weight is None:
        assert embedding is not None
        weight = embedding
    else:
        weight = _numbers({"output_weight": evaluated(model, "output_weight")})["output_weight"]
    bias = _numbers({"output_bias": evaluated(model, "output_bias")})["output_bias"]
    head = Layer("head", _head(*weight.shape), {"W": weight, "b": bias})
    return Network("model", (*_layers(model.recurrent), head), size, embedding)


def _head(size: int, features: int) -> Graph:
    """A linear layer as equations: ``logits = W y + b``."""
    V, F = named("V", size), named("F", features)
    y, W, b = (
        Var("y", (F,), "input"),
        Var("W", (V, F), "parameter", per_step=False),
        Var("b", (V,), "parameter", per_step=False),
    )
    builder = Builder(v.name for v in (y, W, b))
    logits = builder.emit("add", builder.emit("matmul", W, y), b, name="logits")
    equations = tuple(builder.equations)
    return Graph("the output", (y,), (), (W, b), (), (), equations, (), (Output("logits", logits),))


def _numbers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values of parameters on the CPU; ``UserError`` where they are not float32."""
    for name, t in tensors.items():
        if t.dtype != torch.float32:
            raise UserError(
                f"the parameter {name} is {t.dtype}: the C that is written computes in float32; "
                "convert a copy, copy.deepcopy(model).float()"
            )
    return {name: t.detach().cpu().contiguous() for name, t in tensors.items()}


def _started(network: Network, state: Tensor | Sequence[Tensor]) -> Network:
    given: tuple[Any, ...] = (state,) if isinstance(state, Tensor) else tuple(state)
    layers = [layer for layer in network.layers if layer.graph.states]
    states = layers[0].graph.states
    if any([v.shape for v in layer.graph.states] != [v.shape for v in states] for layer in layers):
        raise UserError(
            "state= is for layers whose states have the same lengths: here give the layer "
            "learn_initial=True and write the states to its parameters"
        )
    expected = [(len(layers), int(v.shape[0])) for v in states]
    found = [tuple(s.shape) if isinstance(s, Tensor) else type(s).__name__ for s in given]
    if found != expected:
        wanted = ", ".join(f"{v.name} {list(s)}" for v, s in zip(states, expected, strict=True))
        raise ValueError(
            f"state= has a tensor [layers, size] for each state, here {wanted}; got "
            f"{', '.join(str(list(s) if isinstance(s, tuple) else s) for s in found)}"
        )
    values = _numbers({f"state {v.name}": s for v, s in zip(states, given, strict=True)}).values()
    started = [
        Layer(layer.label, layer.graph, layer.parameters, tuple(s[k] for s in values))
        for k, layer in enumerate(layers)
    ]
    return Network(
        network.name, (*started, *network.layers[len(layers) :]), network.tokens, network.embedding
    )
