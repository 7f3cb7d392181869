"""A Graph as a step function, for cells that have no source of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from unrolled.ir import Graph, Var, concrete
from unrolled.ops import TABLE


def interpreted(graphs: tuple[Graph, ...]) -> Callable[..., Any]:
    """The step function that the graphs describe, each for its own sizes."""

    def step(x: Tensor, *states: Tensor, **parameters: Tensor) -> Any:
        sizes = (x.shape[-1], *(s.shape[-1] for s in states))
        for graph in graphs:
            if sizes == tuple(v.shape[0] for v in (*graph.inputs, *graph.states)):
                return evaluate(graph, x, states, parameters)
        raise ValueError(f"{graphs[0].name} has no equations for the sizes {sizes}")

    return step


def evaluate(
    graph: Graph, x: Tensor, states: tuple[Tensor, ...], parameters: dict[str, Tensor]
) -> Any:
    """One step: the output, the new states, and a dict of further outputs where there are any."""
    values: dict[Var, Any] = {graph.inputs[0]: x}
    values.update(zip(graph.states, states, strict=True))
    values.update((v, parameters[v.name]) for v in graph.parameters)
    for constant in graph.constants:
        data = torch.tensor(constant.data, dtype=x.dtype, device=x.device)
        values[constant.var] = data.reshape(concrete(constant.var.shape))
    for equation in graph.equations:
        operands = [values[a] if isinstance(a, Var) else a for a in equation.args]
        if equation.op == "where" and not isinstance(operands[1], Tensor):
            operands[1] = torch.tensor(operands[1], dtype=x.dtype, device=x.device)
        values[equation.out] = TABLE[equation.op].run(equation, *operands)
    new = tuple(values[v] for v in graph.next_states)
    y, *extras = graph.outputs
    if extras:
        return values[y.var], new, {o.name: values[o.var] for o in extras}
    return values[y.var], new
