"""The concatenated form: ``W @ [h, x]`` becomes ``W_h @ h + W_x @ x``.

Textbooks write one matrix over the joined state and input.  Split by what a state reaches, the
input's product can be hoisted; joins of states alone, or of inputs alone, stay as they are.
"""

from __future__ import annotations

from itertools import groupby

from unrolled.builder import Builder
from unrolled.ir import Atom, Equation, Graph, Var
from unrolled.passes.rewrite import rewrite
from unrolled.passes.stages import hoist


def split_concatenated(graph: Graph) -> Graph:
    """The graph with products over joins of state and input split into a sum of products."""
    early = hoist(graph)
    free_inputs = {v for v in graph.sources if v not in graph.states}
    definitions = graph.definitions()

    def is_early(value: Atom) -> bool:
        return not isinstance(value, Var) or value in early or value in free_inputs

    def rule(builder: Builder, equation: Equation, args: tuple[Atom, ...]) -> Atom:
        joined = equation.args[-1]
        join = definitions.get(joined) if isinstance(joined, Var) else None
        splits = (
            equation.op == "matmul"
            and join is not None
            and join.op == "cat"
            and len(joined.shape) == 1  # type: ignore[union-attr]
            and len({is_early(part) for part in join.inputs}) == 2
        )
        if not splits:
            return builder.copy(equation, args)
        assert join is not None
        weight, vector = args
        assert isinstance(vector, Var)
        assert isinstance(weight, Var)
        builder.locate = lambda: equation.location
        total: Var | None = None
        start = join.inputs[0].shape[0] * 0
        for _, group in groupby(join.inputs, key=is_early):
            stop = start + sum((p.shape[0] for p in group), start=start * 0)
            columns = builder.emit("slice", weight, axis=-1, start=start, stop=stop, step=1)
            rows = builder.emit("slice", vector, axis=-1, start=start, stop=stop, step=1)
            product = builder.emit("matmul", columns, rows)
            total = product if total is None else builder.emit("add", total, product)
            start = stop
        builder.locate = lambda: None
        assert total is not None
        return total

    return rewrite(graph, rule)
