"""What a cell's picture is made of: boxes and wires, not yet in their places."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from unrolled.inspect.diagram.names import Text
from unrolled.ir import Equation, Graph
from unrolled.passes.stages import Stage

Kind = Literal[
    "input", "state", "product", "function", "sign", "parameter", "once", "result", "next"
]


@dataclass(frozen=True)
class Box:
    """A box of the picture.

    Attributes:
        key: What wires call it.
        kind: An input, an old state, a product with parameters, a function, a sign such as ⊙, a
            value of parameters alone, an output, or a new state.
        lines: What stands in it.
        caption: The value's own name, which stands above it; empty for one that has none.
        lane: The stage of the plan that it is computed in.
        covers: The equations that it stands for.
        parameters: Names of the parameters, or of their parts, that stand in it.
    """

    key: str
    kind: Kind
    lines: tuple[Text, ...]
    caption: Text
    lane: Stage
    covers: tuple[Equation, ...] = ()
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wire:
    """From a box to one that reads it; the mark says which operand it is."""

    source: str
    target: str
    mark: str = ""


@dataclass
class Content:
    """All boxes and wires, and the graph that they are of."""

    graph: Graph
    boxes: list[Box] = field(default_factory=list[Box])
    wires: list[Wire] = field(default_factory=list[Wire])
