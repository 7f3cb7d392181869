"""The compiler on one screen: from a traced step to a Plan, which is all that a backend needs."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from unrolled.ir import Graph, Var
from unrolled.passes.adjoint import adjoint
from unrolled.passes.concat import split_concatenated
from unrolled.passes.linear import LinearForm, linear_form
from unrolled.passes.overlap import share_joins
from unrolled.passes.regroup import regroup
from unrolled.passes.residuals import recompute
from unrolled.passes.simplify import simplify
from unrolled.passes.stack import stack
from unrolled.passes.stages import Schedule, schedule
from unrolled.verify import verify


@dataclass(frozen=True)
class Plan:
    """A step scheduled for both directions of time.

    ``stored`` are the values of the forward pass, beside its inputs, states and parameters, that
    are kept for the reverse pass.  ``linear`` is the linear form of the step, where it has one.
    """

    forward: Schedule
    reverse: Schedule | None
    stored: tuple[Var, ...]
    linear: LinearForm | None

    def __str__(self) -> str:
        return describe(self)


def lower(step: Graph, outputs: Sequence[str] = ("y",), wrt: Collection[str] = ()) -> Plan:
    """Compile one step: ``outputs`` are computed, and differentiated with respect to ``wrt``.

    ``wrt`` names inputs and parameters, or states; empty, there is no reverse pass.
    """
    graph = step.giving(outputs).prune()  #        Graph: what is wanted, as the user wrote it
    graph = simplify(graph)  #                     equal values once, neutral elements gone
    graph = simplify(split_concatenated(graph))  # W @ [h, x]  ->  W_h @ h + W_x @ x
    graph = simplify(stack(graph))  #              products that share a vector become one
    graph = regroup(graph)  #                      sums: parameters, then before, then loop
    forward = schedule(verify(graph))  #           hoist and sink: before, loop, after
    linear = linear_form(graph)
    if not wrt:
        return Plan(forward, None, (), linear)
    back = adjoint(graph, wrt)  #                  Graph: the step from t+1 to t
    back = simplify(recompute(graph, back))  #     residuals: stored, or computed again
    back = simplify(stack(back))
    back = share_joins(regroup(back))  #           rows of weight gradients that are kept anyway
    reverse = schedule(verify(back))  #            the same two passes, in the other direction
    sources = {v.name for v in graph.sources}
    stored = tuple(v for v in back.residuals if v.name not in sources)
    return Plan(forward, reverse, stored, linear)


def describe(plan: Plan) -> str:
    """The plan as text: each stage of both directions, and what is stored between them."""
    parts = [_describe("forward", plan.forward)]
    if plan.linear is not None:
        parts.append(f"linear in the state: {plan.linear}")
    if plan.reverse is not None:
        every_step = ", ".join(str(v) for v in plan.stored if v.per_step) or "nothing"
        parts.append(f"stored for the reverse pass, every step: {every_step}")
        once = ", ".join(str(v) for v in plan.stored if not v.per_step)
        parts += [f"stored for the reverse pass, once: {once}"] if once else []
        parts.append(_describe("reverse", plan.reverse))
    return "\n\n".join(parts)


def _describe(title: str, schedule: Schedule) -> str:
    body = schedule.graph.describe(
        [
            ("before the loop, all time steps at once:", schedule.before),
            ("in the loop:", schedule.loop),
            ("after the loop, all time steps at once:", schedule.after),
        ]
    )
    return f"{title} {body}"
