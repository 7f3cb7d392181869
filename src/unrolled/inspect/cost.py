"""What a step of a cell costs, counted on the equations that run.

The lowered plan is counted, not the equations as they were written: what no state reaches is
computed for all steps at once before the loop, what no next state needs after it, and what is the
same at every step once a call.  Views and copies compute nothing and count nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unrolled.ir import Equation, Graph, n_elements
from unrolled.lower import lower
from unrolled.ops import TABLE

REDUCTIONS = {"sum", "mean", "amax"}


@dataclass(frozen=True)
class Count:
    """Operations on numbers for one example: in products, element by element, and functions.

    Attributes:
        multiply_adds: Of matrix products.
        elementwise: Sums, products, comparisons and the like, and what reductions add up.
        functions: Evaluations of tanh, σ, e^x, roots and other functions.
    """

    multiply_adds: int = 0
    elementwise: int = 0
    functions: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(
            self.multiply_adds + other.multiply_adds,
            self.elementwise + other.elementwise,
            self.functions + other.functions,
        )

    @property
    def others(self) -> int:
        """All but the multiply-adds."""
        return self.elementwise + self.functions


@dataclass(frozen=True)
class Cost:
    """The operations of one time step of one example, by the place where they run.

    Attributes:
        before: For all time steps at once, before the loop.
        loop: In the loop, a step after the other.
        after: For all time steps at once, after the loop.
        once: Once a call, whatever the steps: what is computed of parameters alone.
    """

    before: Count
    loop: Count
    after: Count
    once: Count

    @property
    def step(self) -> Count:
        """All that is done for each time step."""
        return self.before + self.loop + self.after


def cost(graph: Graph) -> Cost:
    """What a step of these equations costs when its outputs alone are computed."""
    plan = lower(graph).forward
    return Cost(
        _count(e for e in plan.before if e.out.per_step),
        _count(e for e in plan.loop if e.out.per_step),
        _count(e for e in plan.after if e.out.per_step),
        _count(e for s in (plan.before, plan.loop, plan.after) for e in s if not e.out.per_step),
    )


def _count(equations: Iterable[Equation]) -> Count:
    return sum(map(operations, equations), Count())


def operations(equation: Equation) -> Count:
    """The operations of one equation."""
    op, size = TABLE[equation.op], n_elements(equation.out.shape)
    if equation.op == "matmul":
        return Count(multiply_adds=size * int(equation.inputs[0].shape[-1]))
    if equation.op in REDUCTIONS:
        return Count(elementwise=n_elements(equation.inputs[0].shape))
    if not op.elementwise or op.cost == "view":
        return Count()
    return Count(functions=size) if op.cost == "costly" else Count(elementwise=size)
