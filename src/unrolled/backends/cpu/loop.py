"""One loop over time: emitted, compiled and loaded, with our products and torch around it."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

import torch
from torch import Tensor

from unrolled.backends.cpu.around import around
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
from unrolled.backends.cpu.rows import Rows
from unrolled.backends.cpu.sequences import as_values, in_tensors, sequences
from unrolled.backends.cpu.sharing import Shares, share, work_of
from unrolled.backends.cpu.threads import n_threads
from unrolled.backends.protocol import Values
from unrolled.ir import Equation, Var, concrete, n_elements
from unrolled.ops import TABLE
from unrolled.passes.stages import Schedule

BARRIER_SIZE = 32
"""How many numbers of workspace the barrier has for itself: two cache lines at least."""


@dataclass(frozen=True)
class _Matrix:
    """A result of jobs [m, n]: which rows each job's part of it starts at."""

    m: int
    n: int
    parts: Mapping[str, int]


@dataclass(frozen=True)
class _Job:
    """A product by the names of its operands: of a matrix [m, k] and rows, or of rows and rows."""

    outer: bool
    m: int
    k: int
    first: str
    second: str
    out: str


@dataclass(frozen=True)
class Workspace:
    """How a call of so many steps and examples is shared, and what its workspace holds where.

    In numbers: ``size`` of all, and the areas of the barrier, the packed matrices, the jobs' own
    memory, the loop's scratch memory, and each sequence: where it starts and how long it is.
    ``sequences`` are named with their area, where they start in it, and their width.
    """

    shares: Shares
    size: int
    areas: tuple[tuple[int, int], ...]
    sequences: tuple[tuple[str, int, int, int], ...]


class Loop:
    """One direction in one precision."""

    def __init__(
        self, schedule: Schedule, wanted: Collection[str], dtype: torch.dtype, backwards: bool
    ) -> None:
        placement = place(schedule, wanted)
        outliving = {*wanted, *(o.var.name for o in placement.graph.outputs)}
        self.placement: Placement = placement
        self.products: Products = products(dtype)
        self.source: Source = emit(placement, self.products.lanes)
        self._run = load(self.source.text, {PRECISION[dtype]: "1"}).ur_run
        self._run.argtypes, self._run.restype = [ctypes.c_void_p], None
        self._backwards = backwards
        self._dtype = dtype
        self._work = work_of(placement.loop)
        self._around = around(placement, outliving)
        self._sequences = sequences(placement, self._around, outliving, self.products.padded)
        self._matrices = self._results_of_jobs()
        self._jobs_before = [_job(e) for e in self._around.before]
        self._jobs_after = [_job(e) for e in self._around.after]
        self._parts = {
            v.name: (e.inputs[0].name, int(e["start"])) for v, e in self._around.parts.items()
        }
        # A matrix that several products read is packed once.
        sizes = {e.inputs[0].name: self._packed_size(e) for e in self.source.matrices}
        self._packed_at = dict(zip(sizes, _running(sizes.values()), strict=True))
        self._packed = sum(sizes.values())
        jobs = (*self._around.before, *self._around.after)
        self._job_packed = max((self._packed_size(e) for e in jobs if e.op == "matmul"), default=0)
        self._streams = [v.name for v in self.source.streams]
        self._arrays = [v.name for v in self.source.arrays]
        self._factors = [e.inputs[0].name for e in self.source.matrices]
        self._shapes = {e.inputs[0].name: concrete(e.inputs[0].shape) for e in self.source.matrices}
        self._written = [v.name for v in self.source.written]
        self._constants = {
            c.var.name: torch.tensor(c.data, dtype=dtype, device="cpu").reshape(
                concrete(c.var.shape)
            )
            for c in placement.graph.constants
        }
        self._first = [(e.out.name, self._call_to_torch(e)) for e in self._around.first]
        self._last = [
            (e.out.name, self._call_to_torch(e), done)
            for e, done in zip(self._around.last, self._last_read(outliving), strict=True)
        ]
        self._workspaces = lru_cache(maxsize=256)(self.workspace)
        self._kept = [s for s in self._sequences if s.kept]
        self._final_shapes = [concrete(s.shape) for s in placement.graph.states]

    def _packed_size(self, product: Equation) -> int:
        m, k = map(int, product.inputs[0].shape)
        return _whole(self.products.packed_size(m, k))

    def _results_of_jobs(self) -> dict[str, _Matrix]:
        """Sums of outer products, each alone or joined with others."""
        joins = self._around.joins
        joined = {v for parts in joins.values() for v in parts}
        sums = [e.out for e in self._around.after if e.op == "total_outer"]
        results = {v: (v,) for v in sums if v not in joined} | joins
        found: dict[str, _Matrix] = {}
        for var, parts in results.items():
            m, n = map(int, var.shape)
            starts = _running(int(v.shape[0]) for v in parts)
            found[var.name] = _Matrix(m, n, dict(zip((v.name for v in parts), starts, strict=True)))
        return found

    def run(
        self, given: Mapping[str, Tensor], states: Sequence[Tensor], like: Tensor
    ) -> tuple[Values, tuple[Tensor, ...]]:
        """All values over [T, B] that outlive the loop, and the last states."""
        # C sees memory alone, and not that its numbers may stand for their negatives.
        values: Values = {name: value.resolve_neg() for name, value in given.items()}
        values.update(self._constants)
        for name, compute in self._first:
            values[name] = compute(values)
        n_steps, n_examples, *_ = like.shape
        kept: Values = {}
        for sequence in self._kept:
            kept.update(in_tensors(sequence, n_steps, n_examples, self._dtype, self._backwards))
        matrices = {
            name: POOL.empty((of.m, self.products.padded(of.n)), self._dtype)
            for name, of in self._matrices.items()
        }
        final = tuple(
            torch.empty(n_examples, *shape, dtype=self._dtype, device="cpu")
            for shape in self._final_shapes
        )
        threads, sums = n_threads(), None
        if self.source.totals:
            sums = torch.zeros(threads, self.source.totals_size, dtype=self._dtype, device="cpu")
        if n_steps and n_examples:
            states = [state.resolve_neg().contiguous() for state in states]
            rows = Rows(values, kept, self._parts, n_steps, n_examples, self._dtype)
            self._call(values, rows, states, matrices, final, sums, threads)
        else:
            for to, state in zip(final, states, strict=True):
                to.copy_(state)
            for matrix in matrices.values():
                matrix.zero_()
        for sequence in self._kept:
            values.update(as_values(sequence, kept))
        for name, matrix in matrices.items():
            n = self._matrices[name].n
            values[name] = matrix if matrix.shape[1] == n else matrix[:, :n]
        if sums is not None:
            total = sums.sum(0)
            for equation, start in self.source.totals.items():
                shape = concrete(equation.out.shape)
                part = total[start : start + n_elements(shape)]
                values[equation.out.name] = part if len(shape) == 1 else part.reshape(shape)
        del kept, matrices
        for name, compute, done in self._last:
            values[name] = compute(values)
            for of in done:
                del values[of]
        return values, final

    def _last_read(self, outliving: Collection[str]) -> list[list[str]]:
        """For each call after the loop, what it is the last to read: memory that can go."""
        kept = set(outliving)
        last: list[list[str]] = []
        for equation in reversed(self._around.last):
            last.append([v.name for v in dict.fromkeys(equation.inputs) if v.name not in kept])
            kept.update(v.name for v in equation.inputs)
        return last[::-1]

    def workspace(self, n_steps: int, n_examples: int, threads: int, shares: Shares) -> Workspace:
        """The workspace of a call, whose work is shared in this way."""
        at_once = n_examples if shares.split else shares.threads * shares.block
        of_jobs = self.products.outer_workspace(threads) if self._matrices else 0
        local = [s for s in self._sequences if not s.kept]
        sizes = [
            BARRIER_SIZE,
            self._packed,
            _whole(max(self._job_packed, of_jobs)),
            at_once * self.source.scratch_row,
            *(_whole(s.size(n_steps, n_examples)) for s in local),
        ]
        first = len(sizes) - len(local)
        places: list[tuple[str, int, int, int]] = []
        for area, sequence in enumerate(local, first):
            now, late = sequence.offsets(n_examples, self._backwards)
            places.append((sequence.var.name, area, now, sequence.width))
            if sequence.state is not None:
                places.append((sequence.state.name, area, late, sequence.width))
        areas = tuple(zip(_running(sizes), sizes, strict=True))
        return Workspace(shares, sum(sizes) + ALIGNMENT, areas, tuple(places))

    def _call(
        self,
        values: Values,
        rows: Rows,
        states: Sequence[Tensor],
        matrices: Values,
        final: Sequence[Tensor],
        sums: Tensor | None,
        threads: int,
    ) -> None:
        """The jobs before the loop, the loop, and the jobs after it."""
        source, size = self.source, self._dtype.itemsize
        n_steps, n_examples = rows.n_steps, rows.n_examples
        shares = share(n_steps, n_examples, self._work, threads)
        plan = self._workspaces(n_steps, n_examples, threads, shares)
        workspace = POOL.workspace(plan.size, self._dtype)
        begin = aligned(workspace)
        at = [begin + start * size for start, _ in plan.areas]
        barrier, at_packed, of_jobs, scratch, *_ = at
        for name, area, start, width in plan.sequences:
            rows[name] = at[area] + start * size, width
        self._do(self._jobs_before, values, rows, matrices, of_jobs, threads)
        packed = {n: at_packed + start * size for n, start in self._packed_at.items()}
        streams = [rows[name] for name in self._streams]
        arrays = [self._array(values[name]) for name in self._arrays]
        numbers = [
            n_steps, n_examples, shares.block, shares.split, shares.threads, self._backwards,
            source.scratch_row, len(packed), self.products.table, barrier, scratch,
        ]  # fmt: skip
        for name, to in packed.items():
            matrix, (m, k) = values[name], self._shapes[name]
            numbers += k, m, matrix.data_ptr(), *matrix.stride(), to
        numbers += [address for address, _ in streams]
        numbers += [apart for _, apart in streams]
        numbers += [a.data_ptr() for a in arrays]
        numbers += [packed[name] for name in self._factors]
        numbers += [s.data_ptr() for s in states]
        numbers += [rows[name][0] for name in self._written]
        numbers += [t.data_ptr() for t in final]
        if sums is not None:
            numbers.append(sums.data_ptr())
        call = array("l", numbers)
        self._run(call.buffer_info()[0])
        self._do(self._jobs_after, values, rows, matrices, of_jobs, threads)

    def _do(
        self,
        jobs: Sequence[_Job],
        values: Values,
        rows: Rows,
        matrices: Values,
        workspace: int,
        threads: int,
    ) -> None:
        """Run these products, one after the other."""
        if not jobs:
            return
        n_rows, size = rows.n_steps * rows.n_examples, self._dtype.itemsize
        to = {
            part: (matrix.data_ptr() + start * matrix.shape[1] * size, matrix.shape[1])
            for name, matrix in matrices.items()
            for part, start in self._matrices[name].parts.items()
        }
        numbers: list[int] = []
        for job in jobs:
            numbers += job.outer, n_rows, job.k, job.m
            if job.outer:
                numbers += *rows[job.first], *rows[job.second], 1, workspace, *to[job.out]
            else:
                matrix = values[job.first]
                numbers += *rows[job.second], matrix.data_ptr(), *matrix.stride(), workspace
                numbers += rows[job.out]
        self.products.do(len(jobs), array("l", numbers), threads)

    def _array(self, value: Tensor) -> Tensor:
        dense = value if value.is_contiguous() else value.contiguous()
        return dense if dense.dtype is self._dtype else dense.to(self._dtype)

    def _call_to_torch(self, equation: Equation) -> Callable[[Values], Tensor]:
        """What computes an equation outside the loop that is no job, from the values so far."""
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


def _job(equation: Equation) -> _Job:
    first, second = equation.inputs
    m, k = (int(first.shape[0]), int(second.shape[0]))
    return _Job(equation.op == "total_outer", m, k, first.name, second.name, equation.out.name)


def _running(sizes: Iterable[int]) -> list[int]:
    """Where each of these sizes starts, one after the other."""
    return [0, *accumulate(sizes)][:-1]


def _whole(n: int) -> int:
    """``n`` numbers or more, in whole cache lines."""
    return -(-n // ALIGNMENT) * ALIGNMENT
