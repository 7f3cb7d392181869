"""Stacking: matrix products that share their vector, in one stage, become one product.

``W_i x``, ``W_f x``, … are rows of one product with the matrices set on top of each other; that
join is made once a call, and costs nothing where the matrices are slices of one parameter
anyway (:mod:`unrolled.passes.simplify` sees that).
"""

from __future__ import annotations

from collections import defaultdict

from unrolled.ir import Atom, Equation, Graph, Var
from unrolled.passes.rewrite import Rewriter
from unrolled.passes.stages import stages


def stack(graph: Graph) -> Graph:
    """The graph with its products stacked."""
    placed = stages(graph)
    groups: dict[tuple[Atom, str], list[Equation]] = defaultdict(list)
    for equation in graph.equations:
        if (
            equation.op == "matmul"
            and len(equation.inputs[1].shape) == 1
            and equation.inputs[1].per_step
        ):
            groups[equation.args[1], placed[equation.out]].append(equation)
    shared = {e.out: group for group in groups.values() if len(group) > 1 for e in group}

    rewriter = Rewriter(graph)
    # What is the same for the whole call depends on parameters alone, so it may come first; then
    # every matrix of a stack is there when its first product is reached.
    constant = [e for e in graph.equations if not e.out.per_step and placed[e.out] == "before"]
    rest = [e for e in graph.equations if e.out.per_step or placed[e.out] != "before"]
    for equation in (*constant, *rest):
        if equation.out in rewriter.values:
            continue
        if equation.out in shared:
            _stack(rewriter, shared[equation.out])
        else:
            rewriter.keep(equation)
    return rewriter.finish()


def _stack(rewriter: Rewriter, group: list[Equation]) -> None:
    builder = rewriter.builder
    builder.locate = lambda: group[0].location
    matrices = [rewriter.values[e.inputs[0]] for e in group]
    vector = rewriter.values[group[0].inputs[1]]
    joined = builder.emit("cat", *matrices, axis=-2)
    product = builder.emit("matmul", joined, vector)
    start = group[0].out.shape[0] * 0
    for equation in group:
        stop = start + equation.out.shape[0]
        cut = Equation(
            equation.out, "slice", (product,),
            (("axis", -1), ("start", start), ("stop", stop), ("step", 1)), equation.location,
        )  # fmt: skip
        value: Var = builder.copy(cut, (product,))
        rewriter.values[equation.out] = value
        start = stop
    builder.locate = lambda: None
