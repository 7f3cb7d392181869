"""What is left of a step for C: equations that have to run at each step, and fixed arrays.

Two of the compiler's passes apply to one step of one example: ``simplify``, and ``regroup``, which
adds what is fixed up first.  What no input and no state reaches is the same at every step, so it is
computed once at export: both biases of an LSTM become one, a time constant its factor.  A part of
an array whose rows stay whole is read where it lies, unless other parts are not read at all; what
else is fixed is an array of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from unrolled.errors import UserError
from unrolled.interop.c.views import VIEWS, View, all_of, view
from unrolled.ir import Atom, Equation, Graph, Var, concrete, n_elements
from unrolled.ops import TABLE
from unrolled.passes.regroup import regroup
from unrolled.passes.simplify import simplify
from unrolled.verify import verify

REFUSED = {
    "total": "it adds up all time steps, and C gets one step at a time",
    "total_outer": "it adds up all time steps, and C gets one step at a time",
}
"""The ops that no step for C can have, with the reason."""


@dataclass(frozen=True)
class Step:
    """A step ready to be written.

    ``graph`` is the whole step after the passes, ``equations`` are those of them that run at each
    step, ``fixed`` the arrays that these read, ``views`` what of which array each value is.
    """

    graph: Graph
    equations: tuple[Equation, ...]
    fixed: tuple[Var, ...]
    views: Mapping[Var, View]


def prepare(graph: Graph, outputs: Iterable[str]) -> Step:
    """The step with these outputs; ``UserError`` where it has an op that C can't have."""
    for equation in graph.equations:
        if equation.op in REFUSED:
            raise UserError(f"{graph.name} uses {equation.op}: {REFUSED[equation.op]}")
    graph = verify(regroup(simplify(graph.prune(outputs))))
    views = {v: all_of(v) for v in graph.sources}
    running: list[Equation] = []
    for e in graph.equations:
        found = view(e, views[e.inputs[0]]) if e.op in VIEWS else None
        if not e.out.per_step:
            views[e.out] = found if found and _keeps_rows(found) else all_of(e.out)
        elif e.op in VIEWS and found:
            views[e.out] = found
        else:
            views[e.out] = all_of(e.out)
            running.append(e)
    read = [v for e in running for v in e.inputs] + list(graph.results)
    views.update(_parts({v: views[v] for v in read if not v.per_step}))
    roots = dict.fromkeys(views[v].root for v in read if not v.per_step)
    sources = [v for v in graph.sources if v in roots]
    fixed = (*sources, *(v for v in roots if v not in sources))
    return Step(graph, tuple(running), fixed, views)


def _keeps_rows(v: View) -> bool:
    return not v.strides or v.shape[-1] == 1 or v.strides[-1] in (0, 1)


def _parts(read: Mapping[Var, View]) -> dict[Var, View]:
    """What is read of arrays of which some is not, as arrays of their own."""
    by_root: dict[Var, dict[View, Var]] = defaultdict(dict)
    for var, v in read.items():
        by_root[v.root].setdefault(v, var)
    found: dict[Var, View] = {}
    for root, parts in by_root.items():
        repeated = any(
            s == 0 and n > 1 for v in parts for n, s in zip(v.shape, v.strides, strict=True)
        )
        if not repeated and sum(n_elements(v.shape) for v in parts) < n_elements(root.shape):
            found.update((var, all_of(parts[v])) for var, v in read.items() if v.root == root)
    return found


def exact(step: Step, parameters: Mapping[str, Tensor]) -> dict[Var, Tensor]:
    """The values of everything fixed in float64, from the parameters by name."""
    graph = step.graph
    values = {v: parameters[v.name].double() for v in graph.parameters}
    for constant in graph.constants:
        data = torch.tensor(constant.data, dtype=torch.float64)
        values[constant.var] = data.reshape(concrete(constant.var.shape))
    for e in graph.equations:
        if not e.out.per_step:
            values[e.out] = TABLE[e.op].run(e, *(tensor(a, values) for a in e.args))
    return values


def tensor(atom: Atom, values: Mapping[Var, Any]) -> Tensor:
    """The value of an operand in float64."""
    return values[atom] if isinstance(atom, Var) else torch.tensor(atom, dtype=torch.float64)
