"""One loop over time: emitted, compiled and loaded, with torch and our products around it."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from unrolled.backends.cpu.build import load
from unrolled.backends.cpu.emit import Source, emit
from unrolled.backends.cpu.place import Placement, place
from unrolled.backends.cpu.pool import POOL
from unrolled.backends.cpu.products import (
    ALIGNMENT,
    PRECISION,
    Products,
    aligned,
    products,
)
from unrolled.backends.cpu.sharing import share, work_of
from unrolled.backends.cpu.threads import n_threads
from unrolled.backends.protocol import Values
from unrolled.ir import Equation, Var, concrete
from unrolled.ops import TABLE
from unrolled.passes.stages import Schedule

BARRIER_SIZE = 32
"""How many numbers of workspace the barrier has for itself: two cache lines at least."""


class Loop:
    """One direction in one precision."""

    def __init__(
        self, schedule: Schedule, wanted: Collection[str], dtype: torch.dtype, backwards: bool
    ) -> None:
        placement = place(schedule, wanted)
        self.placement: Placement = placement
        self.products: Products = products(dtype)
        self.source: Source = emit(placement, self.products.lanes)
        self._run = load(self.source.text, {PRECISION[dtype]: "1"}).ur_run
        self._run.argtypes, self._run.restype = [ctypes.c_void_p], None
        self._backwards = backwards
        self._dtype = dtype
        sizes = [tuple(map(int, e.inputs[0].shape)) for e in self.source.matrices]
        self._work = work_of(placement.loop)
        # A matrix that several products read is packed once.
        packed_sizes = {
            e.inputs[0]: -(-self.products.packed_size(m, k) // ALIGNMENT) * ALIGNMENT
            for e, (m, k) in zip(self.source.matrices, sizes, strict=True)
        }
        self._packed_at = dict(zip(packed_sizes, _running(packed_sizes.values()), strict=True))
        self._packed = sum(packed_sizes.values())
        later = {v.name for e in placement.after for v in e.inputs} | set(wanted)
        later |= {o.var.name for o in placement.graph.outputs}
        # What only the loop reads, such as the input's product, is large: let go of it in time.
        self._passing = [
            e.out.name for e in placement.before if e.out.per_step and e.out.name not in later
        ]
        self._constants = {
            c.var.name: torch.tensor(c.data, dtype=dtype, device="cpu").reshape(
                concrete(c.var.shape)
            )
            for c in placement.graph.constants
        }
        self._before = [(e.out.name, self._around(e)) for e in placement.before]
        self._after = [
            (e.out.name, self._around(e), done)
            for e, done in zip(placement.after, self._last_read(wanted), strict=True)
        ]
        state_of = {following: state for state, following in placement.shifted}
        self._written = [(v, concrete(v.shape), state_of.get(v)) for v in self.source.written]
        self._final_shapes = [concrete(s.shape) for s in placement.graph.states]

    def run(
        self, given: Mapping[str, Tensor], states: Sequence[Tensor], like: Tensor
    ) -> tuple[Values, tuple[Tensor, ...]]:
        """All values over [T, B] that outlive the loop, and the last states."""
        # C sees memory alone, and not that its numbers may stand for their negatives.
        values: Values = {name: value.resolve_neg() for name, value in given.items()}
        values.update(self._constants)
        states = [state.resolve_neg() for state in states]
        for name, compute in self._before:
            values[name] = compute(values)
        n_steps, n_examples, *_ = like.shape
        out, sequences = self._sequences(n_steps, n_examples)
        final = tuple(
            torch.empty(n_examples, *shape, dtype=self._dtype, device="cpu")
            for shape in self._final_shapes
        )
        threads = n_threads()
        totals = self.source.totals
        sums = [
            torch.zeros(threads, *concrete(e.out.shape), dtype=self._dtype, device="cpu")
            for e in totals
        ]
        if n_steps and n_examples:
            self._call(values, states, out, final, sums, n_steps, n_examples, threads)
        else:
            for to, state in zip(final, states, strict=True):
                to.copy_(state)
        for name in self._passing:
            del values[name]
        for var, value in sequences.items():
            values[var.name] = value != 0 if var.dtype == "bool" else value
        for equation, by_thread in zip(totals, sums, strict=True):
            values[equation.out.name] = by_thread.sum(0)
        del out, sequences, sums
        for name, compute, done in self._after:
            values[name] = compute(values)
            for of in done:
                del values[of]
        return values, final

    def _last_read(self, wanted: Collection[str]) -> list[list[str]]:
        """For each equation after the loop, what it is the last to read: memory that can go."""
        placement = self.placement
        kept = {*wanted, *(o.var.name for o in placement.graph.outputs)}
        last: list[list[str]] = []
        for equation in reversed(placement.after):
            last.append([v.name for v in dict.fromkeys(equation.inputs) if v.name not in kept])
            kept.update(v.name for v in equation.inputs)
        return last[::-1]

    def _sequences(
        self, n_steps: int, n_examples: int
    ) -> tuple[dict[Var, Tensor], dict[Var, Tensor]]:
        """Memory for what is written, and all sequences in it: a state is its next, a step late."""
        out: dict[Var, Tensor] = {}
        late: dict[Var, Tensor] = {}
        for var, shape, state in self._written:
            if state is None:
                out[var] = POOL.empty((n_steps, n_examples, *shape), self._dtype)
            else:
                memory = POOL.empty((n_steps + 1, n_examples, *shape), self._dtype)
                out[var] = _part(memory, 0 if self._backwards else 1, n_steps)
                late[state] = _part(memory, 1 if self._backwards else 0, n_steps)
        return out, {**out, **late}

    def _call(
        self,
        values: Values,
        states: Sequence[Tensor],
        out: Mapping[Var, Tensor],
        final: Sequence[Tensor],
        sums: Sequence[Tensor],
        n_steps: int,
        n_examples: int,
        threads: int,
    ) -> None:
        source = self.source
        shares = share(n_steps, n_examples, self._work, threads)
        rows = n_examples if shares.split else shares.threads * shares.block
        scratch = BARRIER_SIZE + self._packed + rows * source.scratch_row
        workspace = POOL.empty((scratch + ALIGNMENT,), self._dtype)
        begin, size = aligned(workspace), self._dtype.itemsize
        packed = {v: begin + (BARRIER_SIZE + at) * size for v, at in self._packed_at.items()}
        streams = [self._stream(values[v.name], n_steps, n_examples) for v in source.streams]
        arrays = [self._array(values[v.name]) for v in source.arrays]
        initial = [s.contiguous() for s in states]
        numbers = [
            n_steps, n_examples, shares.block, shares.split, shares.threads, self._backwards,
            source.scratch_row, len(packed), self.products.table, begin,
            begin + (BARRIER_SIZE + self._packed) * size,
        ]  # fmt: skip
        for var, to in packed.items():
            matrix, (m, k) = values[var.name], var.shape
            numbers += k, m, matrix.data_ptr(), *matrix.stride(), to
        numbers += [stream.data_ptr() for stream, _ in streams]
        numbers += [apart for _, apart in streams]
        numbers += [a.data_ptr() for a in arrays]
        numbers += [packed[e.inputs[0]] for e in source.matrices]
        numbers += [t.data_ptr() for t in (*initial, *out.values(), *final, *sums)]
        call = array("l", numbers)
        self._run(call.buffer_info()[0])

    def _array(self, value: Tensor) -> Tensor:
        dense = value if value.is_contiguous() else value.contiguous()
        return dense if dense.dtype is self._dtype else dense.to(self._dtype)

    def _stream(self, value: Tensor, n_steps: int, n_examples: int) -> tuple[Tensor, int]:
        """A sequence [T, B, n] and the distance of its rows, even over examples and steps."""
        real = value if value.dtype is self._dtype else value.to(self._dtype)
        flat = real if real.ndim == 3 else real.reshape(n_steps, n_examples, -1)
        width = flat.shape[2]
        if flat.is_contiguous():
            return flat, width
        # torch gives a dimension of length 1 any stride.
        apart = flat.stride(1) if n_examples > 1 else flat.stride(0) if n_steps > 1 else width
        even = flat.stride(0) == n_examples * apart or n_steps == 1
        dense = flat.stride(2) == 1 or width == 1
        return (flat, apart) if even and dense and apart >= width else (flat.contiguous(), width)

    def _around(self, equation: Equation) -> Callable[[Values], Tensor]:
        """What computes an equation that stays outside the loop, from the values so far."""
        products, row = self.products, TABLE[equation.op]
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
            args[1] = torch.tensor(args[1], dtype=self._dtype, device="cpu")
        return lambda values: row.run(
            equation, *(values[a.name] if isinstance(a, Var) else a for a in args)
        )


def _running(sizes: Iterable[int]) -> list[int]:
    """Where each of these sizes starts, one after the other."""
    return [0, *accumulate(sizes)][:-1]


def _part(memory: Tensor, start: int, length: int) -> Tensor:
    """``memory[start : start + length]`` as a tensor of its own.

    Autograd forbids writing to an output that is a view; a user may write to any other.
    """
    part = torch.empty(0, dtype=memory.dtype, device="cpu")
    offset = memory.storage_offset() + start * memory.stride(0)
    shape = (length, *memory.shape[1:])
    return part.set_(memory.untyped_storage(), offset, shape, memory.stride())
