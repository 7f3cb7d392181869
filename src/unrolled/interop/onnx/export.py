"""``export`` and ``export_step``: a layer as an ONNX model.

Time and batch stay dynamic: a model is written from the layer's structure, not from a run of it
(tracing exporters freeze the number of steps).
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import checker, helper
from torch import nn

from unrolled.interop.onnx import scan
from unrolled.interop.onnx.layers import inside, learned, row, scanned_layer, standard_layer
from unrolled.interop.onnx.stacks import Stack, read
from unrolled.interop.onnx.standard import Standard, standard
from unrolled.interop.onnx.writer import Dims, Writer

OPSET, IR_VERSION = 19, 9
"""Of 2023: known to every runtime in use."""

Nodes = Literal["auto", "standard", "scan"]


def export(
    layer: nn.Module,
    path: str | Path | None = None,
    *,
    lengths: bool = False,
    initial_states: bool = False,
    nodes: Nodes = "auto",
) -> onnx.ModelProto:
    """Write a layer as an ONNX model over sequences, with dynamic T and B.

    Its input is ``x`` [T, B, D], with ``batch_first`` [B, T, D]; its outputs are ``y``, of the same
    form, and for each state of the cell the final ones, such as ``h_n`` and ``c_n``
    [layers * directions, B, size]; where layers have other states than their neighbours, each
    layer's, ``h_l0_n`` [directions, B, size].  Dropout is left out, as in evaluation.

    Args:
        layer: an ``unrolled.Recurrent``, ``RNN``, ``GRU`` or ``LSTM`` in float32 or float64.
        path: a file to write the model to as well.
        lengths: the model takes ``lengths`` [B], int64 in 1 to T. Past its length a sequence's
            outputs are 0, its final states are those at its end, and a reversed direction starts
            there.
        initial_states: the model takes the initial states, such as ``h_0`` and ``c_0``
            [layers * directions, B, size]; without it they are 0, or what the layer has learned
            to begin with.
        nodes: ``"standard"`` writes ONNX's own RNN, GRU and LSTM nodes, and raises where the cell
            is none of them; ``"scan"`` writes the cell's equations as a ``Scan``; ``"auto"``
            chooses standard nodes where there are any, in float32, which is all that ONNX Runtime
            has them for, layer by layer.

    Raises ``TypeError`` for other modules and dtypes, ``ValueError`` for a cell without a standard
    node where one is asked for, and :class:`CellError` where the cell can't be compiled.
    """
    stack = read(layer)
    kinds = _choose(stack, nodes)
    writer = Writer(_numpy_dtype(stack))
    states = stack.states
    first = [f"{name}_0" for name in states] if initial_states else []
    last = [f"{name}_n" for name in states]
    writer.reserve("x", "y", "lengths", *first, *last)

    lead: list[int | str] = ["B", "T"] if stack.batch_first else ["T", "B"]
    inputs = [writer.info("x", [*lead, stack.input_size])]
    outputs = [writer.info("y", [*lead, stack.output_size])]
    x = writer.node("Transpose", ["x"], {"perm": [1, 0, 2]}) if stack.batch_first else "x"
    if lengths:
        inputs.append(writer.info("lengths", ["B"], np.int64))
    shapes: list[Dims] = [[rows, "B", n] for rows, n in states.values()]
    inputs += [writer.info(n, s) for n, s in zip(first, shapes[: len(first)], strict=True)]
    outputs += [writer.info(n, s) for n, s in zip(last, shapes, strict=True)]

    if stack.initial and not initial_states:
        pairs = zip(states, stack.initial, strict=True)
        first = [learned(writer, x, values.numpy(), name) for name, values in pairs]
    within = inside(writer, x) if lengths and None in kinds else None
    ends = None
    if lengths and any(kinds):
        to = {"to": onnx.TensorProto.INT32}
        ends = writer.node("Cast", ["lengths"], to, "sequence_lens")
    finals: list[list[str]] = []
    for number, kind in enumerate(kinds):
        if kind is None:
            x, final = scanned_layer(writer, stack, number, x, first, within)
        else:
            x, final = standard_layer(kind, writer, stack, number, x, first, ends)
        finals.append(final)
    if stack.batch_first:
        x = writer.node("Transpose", [x], {"perm": [1, 0, 2]})
    return _finished(writer, stack, inputs, outputs, [x, *_joined(writer, stack, finals)], path)


def export_step(layer: nn.Module, path: str | Path | None = None) -> onnx.ModelProto:
    """Write one time step of a layer as an ONNX model, its states explicit, with dynamic B.

    Inputs are ``x`` [B, D] and the states before the step, such as ``h_0`` and ``c_0``
    [layers, B, size]; outputs are ``y`` and the states after it, ``h_n`` and ``c_n``, in the same
    order: what comes out goes in at the next step.  What a layer has learned to begin with is
    ``layer.initial_state(B)``.

    Raises as :func:`export` does, and ``ValueError`` for a bidirectional layer, which has no next
    step before its last.
    """
    stack = read(layer)
    if stack.directions == 2:
        raise ValueError(
            "a bidirectional layer reads its input from the end too, so there is no single step to "
            "export; use export, which takes whole sequences"
        )
    writer = Writer(_numpy_dtype(stack))
    states = stack.states
    first, last = ([f"{name}_{end}" for name in states] for end in "0n")
    writer.reserve("x", "y", *first, *last)
    shapes: list[Dims] = [[rows, "B", n] for rows, n in states.values()]
    inputs = [writer.info("x", ["B", stack.input_size])]
    inputs += [writer.info(n, s) for n, s in zip(first, shapes, strict=True)]
    outputs = [writer.info("y", ["B", stack.output_size])]
    outputs += [writer.info(n, s) for n, s in zip(last, shapes, strict=True)]
    x = "x"
    finals: list[list[str]] = []
    for number, (params,) in enumerate(stack.layers):
        own, position = stack.place(number)
        given = [writer.node("Gather", [s, row(writer, position)], {"axis": 0}) for s in first[own]]
        x, new = scan.step(writer, stack.plan(number), params, x, given, f"l{number}/")
        finals.append([writer.node("Unsqueeze", [s, writer.integers(0)]) for s in new])
    return _finished(writer, stack, inputs, outputs, [x, *_joined(writer, stack, finals)], path)


def _choose(stack: Stack, nodes: str) -> list[Standard | None]:
    """How each layer is written; ``None`` is a Scan."""
    if nodes not in ("auto", "standard", "scan"):
        raise ValueError(f"nodes={nodes!r}: expected 'auto', 'standard' or 'scan'")
    chosen: list[Standard | None] = []
    for cell in stack.cells:
        found = standard(cell)
        if nodes == "standard" and isinstance(found, str):
            raise ValueError(
                f"cell {cell.name} is no standard ONNX node: {found}; nodes='scan' writes its "
                "equations"
            )
        wanted = nodes == "standard" or (nodes == "auto" and stack.dtype is torch.float32)
        chosen.append(None if isinstance(found, str) or not wanted else found)
    return chosen


def _numpy_dtype(stack: Stack) -> np.dtype[np.floating]:
    return torch.empty(0, dtype=stack.dtype).numpy().dtype


def _joined(writer: Writer, stack: Stack, finals: list[list[str]]) -> list[str]:
    """The final states as the model puts them out, from those of each layer."""
    if len(stack.groups) > 1:
        return [state for final in finals for state in final]
    return [writer.node("Concat", parts, {"axis": 0}) for parts in zip(*finals, strict=True)]


def _finished(
    writer: Writer,
    stack: Stack,
    inputs: list[onnx.ValueInfoProto],
    outputs: list[onnx.ValueInfoProto],
    values: list[str],
    path: str | Path | None,
) -> onnx.ModelProto:
    """The checked model, whose outputs are ``values``."""
    for value, output in zip(values, outputs, strict=True):
        writer.result(value, output.name)
    model = helper.make_model(
        writer.graph(stack.name, inputs, outputs, own=True),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="unrolled",
    )
    checker.check_model(model, full_check=True)
    if path is not None:
        onnx.save_model(model, str(path))
    return model
