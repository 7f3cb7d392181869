"""The adjoint: backpropagation through time, derived equation by equation.

Reverse-mode differentiation of one step (Werbos 1990; Griewank & Walther 2008) gives another
Graph.  Its states are the cotangents that are carried from step t+1 to step t, its inputs the
cotangents of the step's outputs, its residuals the values of the forward step that it reads, and
its outputs the cotangents of the input and of the parameters, these summed over all steps and
examples (``total``).  Run from the last step to the first, it is backpropagation through time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from unrolled import functions as functions
from unrolled.builder import Builder
from unrolled.errors import Location
from unrolled.ir import Equation, Graph, Output, Var, n_elements
from unrolled.ops import TABLE
from unrolled.proxy import Proxy


def adjoint(graph: Graph, wrt: Iterable[str]) -> Graph:
    """The reverse step of ``graph`` with respect to the inputs and parameters named in ``wrt``.

    The states' cotangents are always carried.  The cotangent of ``v`` is called ``d_v``; the one
    that comes from the next step, ``d_next_h``.
    """
    wanted = set(wrt)
    forward = [*graph.sources, *(e.out for e in graph.equations)]
    builder = Builder(v.name for v in forward)
    location: list[Location | None] = [None]
    builder.locate = lambda: location[0]

    inputs = tuple(
        Var(builder.fresh(f"d_out_{o.name}"), o.var.shape, "input") for o in graph.outputs
    )
    carried = tuple(Var(builder.fresh(f"d_next_{s.name}"), s.shape, "state") for s in graph.states)
    residuals = {v: _residual(v) for v in forward}
    active = _active(graph, wanted)

    def proxy(value: Any) -> Any:
        return Proxy(builder, residuals[value]) if isinstance(value, Var) else value

    cotangents = _Cotangents(builder)
    for var, d in zip(graph.next_states, carried, strict=True):
        cotangents.add(var, Proxy(builder, d), active)
    for output, d in zip(graph.outputs, inputs, strict=True):
        cotangents.add(output.var, Proxy(builder, d), active)
    for equation in reversed(graph.equations):
        location[0] = equation.location
        d = cotangents.take(equation.out)
        rule = TABLE[equation.op].vjp
        if d is None or rule is None:
            continue
        contributions = rule(equation, d, proxy(equation.out), *map(proxy, equation.args))
        for arg, contribution in zip(equation.args, contributions, strict=True):
            if isinstance(arg, Var) and contribution is not None:
                cotangents.add(arg, contribution, active)
    location[0] = None

    def result(var: Var) -> Var:
        d = cotangents.take(var)
        if d is not None:
            return d.value
        return builder.constant([0.0] * n_elements(var.shape), tuple(var.shape), f"d_{var.name}")

    next_states = tuple(map(result, graph.states))
    sources = [v for v in (*graph.inputs, *graph.parameters) if v.name in wanted]
    outputs = tuple(Output(v.name, result(v)) for v in sources)
    return Graph(
        f"{graph.name}, reversed", inputs, carried, (), tuple(builder.constants),
        tuple(residuals.values()), tuple(builder.equations), next_states, outputs,
    ).prune()  # fmt: skip


def _residual(var: Var) -> Var:
    return Var(var.name, var.shape, "residual", var.per_step, var.dtype)


def _active(graph: Graph, wanted: set[str]) -> set[Var]:
    """The real values that something wanted, or a state, reaches."""
    active = set(graph.states) | {v for v in graph.sources if v.name in wanted}
    for equation in graph.equations:
        if equation.out.dtype == "real" and any(v in active for v in equation.inputs):
            active.add(equation.out)
    return active


class _Cotangents:
    """What has been contributed so far to the cotangent of each forward value."""

    def __init__(self, builder: Builder) -> None:
        self._builder = builder
        self._parts: dict[Var, list[Proxy]] = defaultdict(list)

    def add(self, var: Var, d: Proxy, active: set[Var]) -> None:
        """Contribute ``d``; what varies by step is summed up where ``var`` does not."""
        if var in active:
            summed = d.emit("total") if d.per_step and not var.per_step else d
            self._parts[var].append(summed)

    def take(self, var: Var) -> Proxy | None:
        """The whole cotangent of ``var``, once all that read it have contributed."""
        parts = _join_places(self._builder, self._parts.pop(var, []), var)
        if not parts:
            return None
        total = parts[0]
        for part in parts[1:]:
            total = total.emit("add", part)
        return self._named(total, var)

    def _named(self, d: Proxy, var: Var) -> Proxy:
        equations = self._builder.equations
        for k in range(len(equations) - 1, -1, -1):
            made = equations[k]
            if made.out == d.value:
                if not made.out.name.startswith("d_") and k == len(equations) - 1:
                    name = self._builder.fresh(f"d_{var.name}")
                    named = Var(name, d.shape, "value", d.per_step)
                    equations[k] = Equation(
                        named, made.op, made.args, made.attributes, made.location
                    )
                    return Proxy(self._builder, named)
                break
        return d


def _join_places(builder: Builder, parts: list[Proxy], var: Var) -> list[Proxy]:
    """Cotangents of slices that tile the whole become one ``cat``, not a sum of padded parts."""
    made = {e.out: e for e in builder.equations}
    for axis in range(-len(var.shape), 0):
        places = [made[p.value] for p in parts if p.value in made and made[p.value].op == "place"]
        tiles = sorted(
            (e for e in places if e["axis"] == axis and e["step"] == 1),
            key=lambda e: int(e["start"]),
        )
        ends = [0, *(int(e["stop"]) for e in tiles)]
        starts = [*(int(e["start"]) for e in tiles), int(var.shape[axis])]
        if len(tiles) < 2 or ends != starts:
            continue
        joined = Proxy(builder, builder.emit("cat", *(e.args[0] for e in tiles), axis=axis))
        return [p for p in parts if p.value not in {e.out for e in tiles}] + [joined]
    return parts
