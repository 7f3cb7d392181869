"""The sequences that a loop and the jobs around it write, and where each of them lies.

One that outlives the call is a tensor with memory of its own; the others lie in the call's
workspace.  A row is the vector of one step and one example.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.backends.cpu.around import Around
from unrolled.backends.cpu.place import Placement
from unrolled.backends.cpu.pool import POOL
from unrolled.backends.protocol import Values
from unrolled.ir import Var, concrete, n_elements


@dataclass(frozen=True)
class Sequence:
    """``width`` numbers a row, the first ``length`` of which are the value's.

    ``shape`` is the value's, where it is no vector.  ``state`` has the same numbers a step later:
    its first row is that of before the first step.  ``kept`` is whether it outlives the call.
    """

    var: Var
    width: int
    length: int
    shape: tuple[int, ...] | None
    state: Var | None
    kept: bool

    def size(self, n_steps: int, n_examples: int) -> int:
        """How many numbers it has."""
        return (n_steps + (self.state is not None)) * n_examples * self.width

    def offsets(self, n_examples: int, backwards: bool) -> tuple[int, int]:
        """At which numbers the sequence and that of ``state`` start."""
        step = n_examples * self.width if self.state is not None else 0
        return (0, step) if backwards else (step, 0)


def sequences(
    placement: Placement, around: Around, outliving: Collection[str], padded: Callable[[int], int]
) -> tuple[Sequence, ...]:
    """All that are written; a product's rows are as long as ``padded`` makes them."""
    state_of = {following: state for state, following in placement.shifted}
    kept = {*outliving, *(v.name for v in around.read_by_torch)}

    def sequence(var: Var, width: int, state: Var | None) -> Sequence:
        names = {var.name} if state is None else {var.name, state.name}
        shape = None if len(var.shape) == 1 else concrete(var.shape)
        return Sequence(var, width, n_elements(var.shape), shape, state, bool(names & kept))

    jobs = [e.out for e in (*around.before, *around.after) if e.op == "matmul"]
    return (
        *(sequence(v, n_elements(v.shape), state_of.get(v)) for v in placement.written),
        *(sequence(v, padded(n_elements(v.shape)), None) for v in jobs),
    )


def in_tensors(
    of: Sequence, n_steps: int, n_examples: int, dtype: torch.dtype, backwards: bool
) -> Values:
    """A sequence as tensors [T, B, width] in memory that they share with nobody else."""
    if of.state is None:
        return {of.var.name: POOL.empty((n_steps, n_examples, of.width), dtype)}
    memory = POOL.empty((n_steps + 1, n_examples, of.width), dtype)
    now, late = of.offsets(n_examples, backwards)
    return {
        of.var.name: _part(memory, now, n_steps),
        of.state.name: _part(memory, late, n_steps),
    }


def as_values(of: Sequence, memory: Values) -> Values:
    """Its tensors in the shapes and types of what they stand for, by name."""
    found: Values = {}
    for var in (of.var,) if of.state is None else (of.var, of.state):
        value = memory[var.name]
        if value.shape[2] != of.length:
            value = value[..., : of.length]
        if var.dtype == "bool":
            value = value != 0
        found[var.name] = value if of.shape is None else value.reshape(*value.shape[:2], *of.shape)
    return found


def _part(memory: Tensor, start: int, n_steps: int) -> Tensor:
    """``n_steps`` steps of ``memory``, from that number on, as a tensor of its own.

    Autograd forbids writing to an output that is a view; a user may write to any other.
    """
    part = torch.empty(0, dtype=memory.dtype, device="cpu")
    shape = (n_steps, *memory.shape[1:])
    return part.set_(
        memory.untyped_storage(), memory.storage_offset() + start, shape, memory.stride()
    )
