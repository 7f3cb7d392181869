"""A layer of any cell: its plan as ONNX nodes before, in and after a ``Scan``.

What no state reaches is computed for all steps at once before the loop, as everywhere in this
package; the body holds what is left.  Weights are constants outside, which the body reads.  Past a
sequence's end the body keeps the state, so a reversed direction, which meets the end first, starts
where the sequence does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from unrolled.interop.onnx.spelling import Fixed, Scope
from unrolled.interop.onnx.writer import Writer
from unrolled.ir import Var, concrete
from unrolled.lower import Plan


def step(
    writer: Writer, plan: Plan, parameters: Mapping[str, Tensor], x: str, states: Sequence[str],
    prefix: str,
) -> tuple[str, list[str]]:  # fmt: skip
    """One step from ``x`` [B, D] and ``states`` [B, size]: the output and the new states."""
    graph = plan.forward.graph
    scope = Scope(writer, Fixed(graph, parameters, writer, prefix), 1, x, prefix)
    scope.names |= {graph.inputs[0]: x, **dict(zip(graph.states, states, strict=True))}
    scope.write(graph.equations)
    return scope.varying(graph.outputs[0].var), [scope.varying(v) for v in graph.next_states]


def sequence(
    writer: Writer, plan: Plan, parameters: Mapping[str, Tensor], x: str, states: Sequence[str],
    inside: str | None, reverse: bool, prefix: str,
) -> tuple[str, list[str]]:  # fmt: skip
    """All steps of ``x`` [T, B, D] from ``states`` [B, size]: outputs and final states.

    ``inside`` [T, B, 1] says which steps lie within their sequence; without it, all do.
    """
    schedule = plan.forward
    graph = schedule.graph
    fixed = Fixed(graph, parameters, writer, prefix)
    around = Scope(writer, fixed, 2, x, prefix)
    around.names[graph.inputs[0]] = x
    around.write(schedule.before)

    computed = {e.out for e in schedule.loop} | set(graph.states)
    y = graph.outputs[0].var
    read = dict.fromkeys((*schedule.reads("loop"), *graph.next_states))
    varying = [v for v in read if v.per_step and v not in computed]
    # A body needs an input over time, for its number of steps.
    varying = varying or ([] if inside else [graph.inputs[0]])
    kept = [v for v in dict.fromkeys((*schedule.reads("after"), y)) if v in computed]

    body = Writer(writer.dtype, writer)
    prefix_in = f"{prefix}body/"
    state_inputs = [body.name(f"{prefix_in}{v.name}") for v in graph.states]
    slices = [body.name(f"{prefix_in}{v.name}") for v in varying]
    scope = Scope(body, fixed, 1, state_inputs[0], prefix_in)
    scope.names |= dict(zip((*graph.states, *varying), (*state_inputs, *slices), strict=True))
    scope.write(schedule.loop)
    now = [scope.varying(v) for v in graph.next_states]
    inputs = [
        *(body.info(n, _dims(v)) for n, v in zip(state_inputs, graph.states, strict=True)),
        *(body.info(n, _dims(v), _kind(v)) for n, v in zip(slices, varying, strict=True)),
    ]
    over_time = [around.names[v] for v in varying]
    if inside:
        within = body.name(f"{prefix_in}inside")
        inputs.append(body.info(within, ["B", 1], np.bool_))
        over_time.append(inside)
        pairs = zip(now, state_inputs, strict=True)
        now = [scope.node("Where", within, new, old) for new, old in pairs]
    # Each result of a body has a name of its own, whatever it is.
    results = [scope.node("Identity", name) for name in (*now, *(scope.names[v] for v in kept))]
    kinds = [None] * len(now) + [_kind(v) for v in kept]
    shapes = [_dims(v) for v in (*graph.states, *kept)]
    outputs = [body.info(*row) for row in zip(results, shapes, kinds, strict=True)]
    ends = [f"{prefix}{v.name}/last" for v in graph.states]
    attributes: dict[str, Any] = {
        "body": body.graph(f"{prefix}{graph.name}", inputs, outputs, own=False),
        "num_scan_inputs": len(over_time),
    }
    if reverse:
        directions = {"input": len(over_time), "output": len(kept)}
        attributes |= {f"scan_{k}_directions": [1] * n for k, n in directions.items() if n}
    outs = writer.nodes_of(
        "Scan",
        [*states, *over_time],
        [*ends, *(f"{prefix}{v.name}" for v in kept)],
        attributes,
    )
    around.names |= dict(zip(kept, outs[len(ends) :], strict=True))
    around.write(schedule.after)
    result = around.varying(y)
    if inside:
        result = around.node("Where", inside, result, writer.number(0.0))
    return result, list(outs[: len(ends)])


def _dims(var: Var) -> list[int | str]:
    return ["B", *concrete(var.shape)]


def _kind(var: Var) -> type | None:
    return np.bool_ if var.dtype == "bool" else None
