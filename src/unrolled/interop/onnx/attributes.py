"""The attributes of an ONNX RNN, GRU or LSTM node, checked, with their defaults filled in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx

from unrolled.cell import Cell
from unrolled.interop.onnx.activations import Activation, read
from unrolled.interop.onnx.steps import CELLS

REVERSED: dict[str, tuple[bool, ...]] = {
    "forward": (False,),
    "reverse": (True,),
    "bidirectional": (False, True),
}
"""Which of a node's directions run backwards."""

_SHARED = (
    "activation_alpha", "activation_beta", "activations", "clip", "direction", "hidden_size",
    "layout",
)  # fmt: skip
KNOWN = {
    "RNN": _SHARED,
    "GRU": (*_SHARED, "linear_before_reset"),
    "LSTM": (*_SHARED, "input_forget"),
}
"""The attributes that each operator has from opset 7 on."""

INPUTS = {
    "RNN": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "GRU": ("X", "W", "R", "B", "sequence_lens", "initial_h"),
    "LSTM": ("X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"),
}

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


@dataclass(frozen=True)
class Attributes:
    """What a node computes, beside its weights.

    ``reversed`` and ``activations`` have an entry for each direction; ``hidden_size`` is ``None``
    where the node leaves it to the shape of R; ``batch_first`` is ``layout=1``.
    """

    op: str
    reversed: tuple[bool, ...]
    activations: tuple[tuple[Activation, ...], ...]
    clip: float | None
    hidden_size: int | None
    batch_first: bool
    linear_before_reset: bool
    input_forget: bool

    def cell(self, direction: int) -> Cell:
        """One step of a direction, all its parameters free."""
        options: dict[str, Any] = {"activations": self.activations[direction], "clip": self.clip}
        if self.op == "GRU":
            options["linear_before_reset"] = self.linear_before_reset
        if self.op == "LSTM":
            options["input_forget"] = self.input_forget
        return CELLS[self.op].bind(**options)


def attributes(node: onnx.NodeProto) -> Attributes:
    """Read a node; ``ValueError`` for what the specification does not allow."""
    given = {a.name: _plain(onnx.helper.get_attribute_value(a)) for a in node.attribute}
    where = f"{node.op_type} node {node.name or node.output[0]!r}"
    for name in given:
        if name not in KNOWN[node.op_type]:
            raise ValueError(
                f"{where}: unknown attribute {name}, expected {', '.join(KNOWN[node.op_type])}"
            )
    direction = given.get("direction", "forward")
    if direction not in REVERSED:
        raise ValueError(f"{where}: direction {direction!r}, expected {', '.join(REVERSED)}")
    directions = REVERSED[direction]
    defaults = CELLS[node.op_type].options["activations"]
    names = given.get("activations", [a.name for a in defaults] * len(directions))
    if len(names) != len(defaults) * len(directions):
        raise ValueError(
            f"{where}: {len(names)} activations, expected {len(defaults)} for each of "
            f"{len(directions)} direction(s)"
        )
    alphas, betas = given.get("activation_alpha", ()), given.get("activation_beta", ())
    functions = read(names, alphas, betas, where)
    clip = given.get("clip")
    if clip is not None and not clip > 0:
        raise ValueError(
            f"{where}: clip={clip:g}, expected a number above 0; leave it out for none"
        )
    n = len(defaults)
    return Attributes(
        op=node.op_type,
        reversed=directions,
        activations=tuple(functions[n * d : n * (d + 1)] for d in range(len(directions))),
        clip=clip,
        hidden_size=given.get("hidden_size"),
        batch_first=bool(given.get("layout", 0)),
        linear_before_reset=bool(given.get("linear_before_reset", 0)),
        input_forget=bool(given.get("input_forget", 0)),
    )


def _plain(value: Any) -> Any:
    """An attribute's value with text in place of bytes."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return value
