"""The op table: everything that may stand in a Graph, one row an op.

A row says how an op's result is shaped, how torch computes it, how its cotangent is passed on
(the vector–Jacobian product) and how it is typeset.  There is nothing else to know of an op:
passes and printing read this table, and a backend owns its own ``op -> spelling`` dict that a
test holds against it.

Elementwise ops take operands of one shape or literals; ``broadcast`` is explicit.  Axes count
from the end, so that ``run`` may be given any leading batch and time dimensions.  Derivative
rules are written on proxies (:mod:`unrolled.proxy`), so they read as formulas; where a function
has no derivative at a point, they give what torch gives.

The rules follow from calculus; the arrangement, a rule a line, is autograd's
(Maclaurin et al. 2015, ``numpy_vjps.py``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor

from unrolled.ir import Dtype, Shape

Cost = Literal["view", "cheap", "costly", "product", "total"]
"""What an op costs a step: nothing, one flop, a function's evaluation, a product, a sum over all
steps.  The residual pass stores what is costly and recomputes the rest."""

Takes = Literal["numbers", "conditions", "choice", "either"]
"""What an op's operands are: real numbers, conditions, a condition and two numbers, or one of the
first two throughout, which the result is then too."""

ShapeRule = Callable[..., Shape]
Run = Callable[..., Tensor]
Vjp = Callable[..., tuple[Any, ...]]


@dataclass(frozen=True)
class Op:
    """A row of the table.

    ``shape(*shapes, **attributes)`` raises ``ValueError`` with a sentence where operands or
    attributes don't fit.  ``run(equation, *tensors)`` is torch's own computation.
    ``vjp(equation, d, y, *args)`` gives one cotangent per operand, ``None`` where there is none;
    the rule itself is ``None`` for ops that pass no derivative on.  ``latex`` is a precedence
    (0 sum, 1 product, 2 prefix, 3 atom) with a template.
    """

    name: str
    arity: int | None
    cost: Cost
    shape: ShapeRule
    run: Run
    vjp: Vjp | None
    latex: tuple[int, str]
    elementwise: bool = False
    boolean: bool = False
    takes: Takes = "numbers"

    def dtype(self, *operands: Dtype) -> Dtype:
        """The result's type; ``ValueError`` where the operands are not what the op takes."""
        wanted: tuple[Dtype, ...]
        match self.takes:
            case "numbers":
                wanted = ("real",) * len(operands)
            case "conditions":
                wanted = ("bool",) * len(operands)
            case "choice":
                wanted = ("bool", "real", "real")
            case "either":
                wanted = operands[:1] * len(operands)
        if operands != wanted:
            raise ValueError(f"{self.name} takes {self.takes}, got {', '.join(operands)}")
        if self.takes == "either":
            return operands[0]
        return "bool" if self.boolean else "real"


TABLE: dict[str, Op] = {}


def row(op: Op) -> None:
    """Add a row."""
    TABLE[op.name] = op
