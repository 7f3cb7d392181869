"""What stays outside a loop, sorted: products, which are jobs in C, and the rest, calls to torch.

A job costs a few entries in an array of numbers, a call to torch some microseconds.  So products
over all steps run as jobs directly before and after the loop, on memory that nothing else sees
where nobody else wants it.  Parts of vectors that only jobs read are addresses, and gradients that
are joined are written where they belong in the whole.  Calls to torch stand before and after those.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from unrolled.backends.cpu.place import Placement
from unrolled.ir import Equation, Var


@dataclass(frozen=True)
class Around:
    """In order: calls to torch, jobs ``before`` the loop and ``after`` it, and the ``last`` calls.

    ``parts`` are slices of sequences that only jobs read, by what they give.  ``joins`` are the
    matrices, each with the results of jobs that it holds one above the other.
    """

    first: tuple[Equation, ...]
    before: tuple[Equation, ...]
    after: tuple[Equation, ...]
    last: tuple[Equation, ...]
    parts: dict[Var, Equation]
    joins: dict[Var, tuple[Var, ...]]

    @property
    def read_by_torch(self) -> set[Var]:
        """What calls after the loop read."""
        return {v for e in self.last for v in e.inputs}


def around(placement: Placement, wanted: Collection[str]) -> Around:
    """The equations of a placement outside its loop; ``wanted`` names what outlives the call."""
    before = {e for e in placement.before if _is_product(e)}
    while late := {e for e in before if _read_by(e.out, placement.before) - before}:
        before -= late
    after = {e for e in placement.after if _is_product(e) or _is_part(e) or _is_join(e)}
    while refused := {e for e in after if not _stays(e, after, placement.after, wanted)}:
        after -= refused
    jobs = tuple(e for e in placement.after if e in after)
    return Around(
        tuple(e for e in placement.before if e not in before),
        tuple(e for e in placement.before if e in before),
        tuple(e for e in jobs if _is_product(e)),
        tuple(e for e in placement.after if e not in after),
        {e.out: e for e in jobs if _is_part(e)},
        {e.out: e.inputs for e in jobs if _is_join(e)},
    )


def _stays(
    equation: Equation, jobs: set[Equation], after: Sequence[Equation], wanted: Collection[str]
) -> bool:
    """Whether this equation can be among the jobs, if the others are."""
    of = {e.out: e for e in after}
    if any(v in of and of[v] not in jobs for v in equation.inputs):
        return False
    read = _read_by(equation.out, after)
    if _is_part(equation):
        return equation.out.name not in wanted and read <= jobs
    if _is_join(equation):
        parts = {*equation.inputs}
        own = all(
            v in of
            and of[v].op == "total_outer"
            and v.name not in wanted
            and _read_by(v, after) == {equation}
            for v in parts
        )
        return own and len(parts) == len(equation.inputs) and not read & jobs
    # A sum of products has its own memory, which only torch reads.
    return equation.op == "matmul" or all(_is_join(e) or e not in jobs for e in read)


def _read_by(var: Var, equations: Sequence[Equation]) -> set[Equation]:
    return {e for e in equations if var in e.inputs}


def _is_product(equation: Equation) -> bool:
    """A product over all steps: of a matrix and each vector, or the sum of vectors' outer ones."""
    if equation.op == "matmul":
        return not equation.inputs[0].per_step and _is_sequence(equation.inputs[1])
    return equation.op == "total_outer" and all(map(_is_sequence, equation.inputs))


def _is_part(equation: Equation) -> bool:
    """Neighbouring elements of a vector of each step."""
    cut = equation.op == "slice" and equation["axis"] == -1 and equation["step"] == 1
    return cut and _is_sequence(equation.inputs[0])


def _is_join(equation: Equation) -> bool:
    """Matrices one above the other."""
    return equation.op == "cat" and equation["axis"] == -2 and not equation.out.per_step


def _is_sequence(var: Var) -> bool:
    """A vector for each step."""
    return var.per_step and len(var.shape) == 1
