"""A layer of a stack as ONNX nodes: one of ONNX's own, or a ``Scan`` for each direction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from onnx import numpy_helper

from unrolled.interop.onnx import scan
from unrolled.interop.onnx.stacks import Stack
from unrolled.interop.onnx.standard import Standard, attributes
from unrolled.interop.onnx.writer import Writer


def standard_layer(
    found: Standard, writer: Writer, stack: Stack, number: int, x: str, first: Sequence[str],
    ends: str | None,
) -> tuple[str, list[str]]:  # fmt: skip
    """A layer as one node: outputs [T, B, directions * H], final states [directions, B, H].

    ``x`` is [T, B, D], ``first`` the model's initial states, each [rows, B, H], or empty,
    ``ends`` the sequences' lengths [B] in int32, where the model takes them.
    """
    n = stack.directions
    each = [found.weights(stack.with_held(number, p)) for p in stack.layers[number]]
    weights = {
        name: torch.stack([getattr(w, name) for w in each])
        for name in ("W", "R", "B", "P")
        if getattr(each[0], name) is not None
    }
    known = {k: writer.constant(w.numpy(), f"l{number}/{k}") for k, w in weights.items()}
    own, begin = stack.place(number)
    states: list[str] = []
    for name, (rows, _) in list(zip(first, stack.states.values(), strict=False))[own]:
        cut = [writer.integers(i) for i in (begin, begin + n, 0)]
        states.append(writer.node("Slice", [name, *cut]) if rows > n else name)
    inputs = [x, known["W"], known["R"], known["B"], ends or "", *states]
    if "P" in known:
        inputs += [""] * (7 - len(inputs)) + [known["P"]]
    while not inputs[-1]:
        inputs.pop()
    y, *final = writer.nodes_of(
        found.op,
        inputs,
        [f"l{number}/Y", *(f"l{number}/Y_{name}" for name in stack.states_of(number))],
        attributes(stack.cells[number], found, stack.sizes[number]["H"], n == 2),
    )
    if n == 1:
        return writer.node("Squeeze", [y, writer.integers(1)]), final
    side_by_side = writer.node("Transpose", [y], {"perm": [0, 2, 1, 3]})
    return writer.node("Reshape", [side_by_side, writer.integers(0, 0, -1)]), final


def scanned_layer(
    writer: Writer, stack: Stack, number: int, x: str, first: Sequence[str], ends: str | None
) -> tuple[str, list[str]]:
    """A layer as a Scan for each direction, in the form of :func:`standard_layer`.

    ``ends`` is what :func:`inside` gives.
    """
    plan = stack.plan(number)
    own, begin = stack.place(number)
    outputs: list[str] = []
    finals: list[list[str]] = []
    for reverse, params in enumerate(stack.layers[number]):
        prefix = f"l{number}{'_reverse' if reverse else ''}/"
        position = row(writer, begin + reverse)
        given = [writer.node("Gather", [s, position], {"axis": 0}) for s in first[own]]
        given = given or [_zeros(writer, x, n) for n in stack.states_of(number).values()]
        y, final = scan.sequence(writer, plan, params, x, given, ends, bool(reverse), prefix)
        outputs.append(y)
        finals.append([writer.node("Unsqueeze", [s, writer.integers(0)]) for s in final])
    if len(outputs) == 1:
        return outputs[0], finals[0]
    both = zip(*finals, strict=True)
    return (
        writer.node("Concat", outputs, {"axis": -1}),
        [writer.node("Concat", pair, {"axis": 0}) for pair in both],
    )


def inside(writer: Writer, x: str) -> str:
    """Which steps of ``x`` [T, B, D] lie before their sequence's end, [T, B, 1]."""
    zero, one = (writer.constant(np.array(n, np.int64)) for n in (0, 1))
    n_steps = writer.node("Gather", [writer.node("Shape", [x]), zero])
    steps = writer.node("Range", [zero, n_steps, one])
    columns = writer.node("Unsqueeze", [steps, writer.integers(1, 2)])
    ends = writer.node("Unsqueeze", ["lengths", writer.integers(0, 2)])
    return writer.node("Less", [columns, ends], out="inside")


def learned(writer: Writer, x: str, values: np.ndarray, name: str) -> str:
    """A state [rows, B, size] that begins with ``values`` [rows, size], for ``x`` [T, B, D]."""
    rows, size = values.shape
    held = writer.constant(values[:, None], f"initial_{name}")
    batch = writer.node("Shape", [x], {"start": 1, "end": 2})
    ends = [writer.integers(rows), batch, writer.integers(size)]
    return writer.node("Expand", [held, writer.node("Concat", ends, {"axis": 0})])


def _zeros(writer: Writer, x: str, size: int) -> str:
    """A state of zeros [B, size] for ``x`` [T, B, D]."""
    batch = writer.node("Shape", [x], {"start": 1, "end": 2})
    shape = writer.node("Concat", [batch, writer.integers(size)], {"axis": 0})
    value = numpy_helper.from_array(np.zeros(1, writer.dtype))
    return writer.node("ConstantOfShape", [shape], {"value": value})


def row(writer: Writer, number: int) -> str:
    """A scalar index."""
    return writer.constant(np.array(number, np.int64))
