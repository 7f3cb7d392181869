"""A network as functions, arrays and memory: all that its C files say, before any is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from unrolled.errors import UserError
from unrolled.interop.c.function import Function, function
from unrolled.interop.c.names import Names, identifier
from unrolled.interop.c.network import Layer, Network
from unrolled.interop.c.prepare import Step, prepare
from unrolled.interop.c.spelling import HELPERS
from unrolled.interop.c.weights import Array, Weights, fixed_arrays
from unrolled.ir import Graph, Output, Var


@dataclass(frozen=True)
class Field:
    """A state of a layer: a member of the state's struct, and what it starts from."""

    name: str
    size: int
    initial: Array | None
    what: str


@dataclass(frozen=True)
class Placed:
    """A layer with its function, the arrays and members that the function is called with."""

    layer: Layer
    step: Step
    function: Function
    arrays: tuple[Array, ...]
    exact: Mapping[Var, Tensor]
    fields: tuple[Field, ...]


@dataclass(frozen=True)
class Program:
    """Everything that is written.

    ``outputs`` are the pointers that a step writes to with their lengths, ``y`` first.  Scratch
    memory holds the functions' own, ``links`` values between layers (two by turns), and a token's
    one-hot vector.
    """

    name: str
    network: Network
    placed: tuple[Placed, ...]
    weights: Weights
    embedding: Array | None
    outputs: tuple[Output, ...]
    own_scratch: int
    link_size: int
    links: int
    one_hot: int

    @property
    def scratch(self) -> int:
        """The numbers of scratch memory."""
        return self.own_scratch + self.links * self.link_size + self.one_hot

    @property
    def fields(self) -> tuple[Field, ...]:
        """All states, layer by layer."""
        return tuple(field for p in self.placed for field in p.fields)

    @property
    def helpers(self) -> list[str]:
        """The helper functions that are called, in the order of their table."""
        called = {name for p in self.placed for name in p.function.helpers}
        return [name for name in HELPERS if name in called]


def _giving(network: Network, top: int, outputs: Sequence[str]) -> Network:
    """With these outputs of a layer behind its first."""
    if "y" in outputs:
        raise UserError("outputs: y is the first that every step writes; name others")
    layers = list(network.layers)
    graph = layers[top].graph
    try:
        given = graph.giving((graph.outputs[0].name, *outputs))
    except ValueError as error:
        raise UserError(str(error)) from None
    layers[top] = replace(layers[top], graph=given)
    return replace(network, layers=tuple(layers))


def build(network: Network, name: str, outputs: Sequence[str]) -> Program:
    """The program; ``outputs`` are further outputs of the last layer that has states.

    ``UserError`` where its step has none of such a name.
    """
    top = max(k for k, layer in enumerate(network.layers) if layer.graph.states)
    network = _giving(network, top, outputs)
    ends = ("step", "reset", "init", "state", "float_has_4_bytes")
    names = Names([*HELPERS, *(f"{name}_{end}" for end in ends), "number_at", "crc32_of"])
    weights = Weights(names)
    embedding = None
    if network.embedding is not None:
        embedding = weights.add("embedding", "the vector of each token", network.embedding)
    functions: dict[tuple[Graph, tuple[str, ...]], tuple[Step, Function]] = {}
    members = Names(["scratch", "weights"])
    placed: list[Placed] = []
    for k, layer in enumerate(network.layers):
        wanted = tuple(o.name for o in layer.graph.outputs[: 1 + len(outputs) if k == top else 1])
        if (layer.graph, wanted) not in functions:
            step = prepare(layer.graph, wanted)
            called = names.new(f"{identifier(layer.graph.name)}_step_{layer.label}")
            functions[layer.graph, wanted] = step, function(called, step)
        step, written = functions[layer.graph, wanted]
        arrays, values = fixed_arrays(weights, layer, step)
        fields: list[Field] = []
        for number, state in enumerate(step.graph.states):
            member = members.new(f"{state.name}_{layer.label}")
            initial = None
            if layer.initial is not None:
                what = f"{state.name} of {layer.label} before the first step"
                initial = weights.add(f"initial_{member}", what, layer.initial[number])
            fields.append(Field(member, int(state.shape[0]), initial, f"{state} of {layer.label}"))
        placed.append(Placed(layer, step, written, tuple(arrays), values, tuple(fields)))
    between = [int(p.layer.graph.outputs[0].var.shape[0]) for p in placed[:-1]]
    further = placed[top].step.graph.outputs[1:]
    return Program(
        name,
        network,
        tuple(placed),
        weights,
        embedding,
        (placed[-1].step.graph.outputs[0], *further),
        max(p.function.scratch for p in placed),
        max(between, default=0),
        min(2, len(between)),
        network.tokens if network.tokens and embedding is None else 0,
    )
