"""What a compiled loop is called with: the numbers of ``call_t`` and of the cell, in order.

``templates/call.h`` says what the first of them are, ``Source`` in which order the cell's follow.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.backends.cpu.products import Products
from unrolled.backends.cpu.sharing import Shares
from unrolled.backends.protocol import Values
from unrolled.ir import Equation, Graph, Var, concrete
from unrolled.ops import TABLE


@dataclass(frozen=True)
class Packed:
    """A matrix [m, k] of a loop's products, and the address that it is packed to."""

    matrix: Tensor
    m: int
    k: int
    to: int


@dataclass(frozen=True)
class Addresses:
    """The cell's own memory in ``Source``'s order.

    ``streams`` are the first row of each and how many numbers lie between two; ``states`` are those
    before the first step, or what resets put in and take out.
    """

    streams: Sequence[tuple[int, int]]
    arrays: Sequence[int]
    factors: Sequence[int]
    states: Sequence[int]
    written: Sequence[int]
    final: Sequence[int]
    sums: int | None = None

    def numbers(self) -> list[int]:
        """All of them, one after the other."""
        rows = [address for address, _ in self.streams] + [apart for _, apart in self.streams]
        own = [*self.arrays, *self.factors, *self.states, *self.written, *self.final]
        return rows + own + ([] if self.sums is None else [self.sums])


def call_numbers(
    products: Products,
    n_steps: int,
    n_examples: int,
    shares: Shares,
    downward: bool,
    scratch_row: int,
    barrier: int,
    scratch: int,
    first: int,
    resets: int,
    packed: Sequence[Packed],
    addresses: Addresses,
) -> array[int]:
    """The whole call; its own address is what the compiled function takes."""
    numbers = [
        n_steps, n_examples, shares.block, shares.split, shares.threads, downward, scratch_row,
        len(packed), products.table, barrier, scratch, first, resets,
    ]  # fmt: skip
    for of in packed:
        numbers += of.k, of.m, of.matrix.data_ptr(), *of.matrix.stride(), of.to
    return array("l", numbers + addresses.numbers())


def dense(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A value as a loop reads an array."""
    whole = value if value.is_contiguous() else value.contiguous()
    return whole if whole.dtype is dtype else whole.to(dtype)


def constants(graph: Graph, dtype: torch.dtype) -> Values:
    """Captured arrays by name."""
    return {
        c.var.name: torch.tensor(c.data, dtype=dtype, device="cpu").reshape(concrete(c.var.shape))
        for c in graph.constants
    }


def call_to_torch(
    equation: Equation, products: Products, dtype: torch.dtype
) -> Callable[[Values], Tensor]:
    """What computes an equation outside the loop that is no job, from the values so far."""
    row = TABLE[equation.op]
    names = [v.name for v in equation.inputs]
    if equation.op == "matmul" and equation.inputs[1].per_step:
        matrix, vectors = names
        return lambda values: products.rows(values[vectors], values[matrix])
    if equation.op == "total_outer":
        a, b = names
        return lambda values: products.total_outer(values[a], values[b])
    args: list[Var | float | Tensor] = list(equation.args)
    if equation.op == "where" and not isinstance(args[1], Var):
        # torch takes two numbers for a choice of integers.
        args[1] = torch.tensor(args[1], dtype=dtype, device="cpu")
    return lambda values: row.run(
        equation, *(values[a.name] if isinstance(a, Var) else a for a in args)
    )
