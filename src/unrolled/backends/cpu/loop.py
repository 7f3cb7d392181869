"""One loop over time: emitted, compiled and loaded, with our products and torch around it."""

from __future__ import annotations

import ctypes
from array import array
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from unrolled.backends.cpu.around import around
from unrolled.backends.cpu.build import load
from unrolled.backends.cpu.call import (
    Addresses,
    Packed,
    call_numbers,
    call_to_torch,
    constants,
    dense,
)
from unrolled.backends.cpu.emit import Source, emit
from unrolled.backends.cpu.jobs import Jobs, running
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
from unrolled.backends.cpu.sharing import Shares, for_uneven, share, work_of
from unrolled.backends.cpu.threads import n_threads
from unrolled.backends.cpu.workspace import BARRIER_SIZE, Workspace, whole
from unrolled.backends.protocol import Values
from unrolled.ir import Equation, concrete, n_elements
from unrolled.passes.stages import Schedule
from unrolled.steps import Steps


class Loop:
    """One direction in one precision, for even sequences or for all others (``uneven``)."""

    def __init__(
        self,
        schedule: Schedule,
        wanted: Collection[str],
        dtype: torch.dtype,
        backwards: bool,
        uneven: bool,
        invariant: bool,
    ) -> None:
        placement = place(schedule, wanted, even=not uneven)
        outliving = {*wanted, *(o.var.name for o in placement.graph.outputs)}
        self.placement: Placement = placement
        self.products: Products = products(dtype, invariant)
        self.source: Source = emit(placement, self.products.lanes, uneven, backwards)
        self._run = load(self.source.text, {PRECISION[dtype]: "1"}).ur_run
        self._run.argtypes, self._run.restype = [ctypes.c_void_p], None
        self._backwards = backwards
        self._uneven = uneven
        self._dtype = dtype
        self._work = work_of(placement.loop)
        self._around = around(placement, outliving)
        self._sequences = sequences(placement, self._around, outliving, self.products.padded)
        self._jobs = Jobs(self._around, self.products, dtype.itemsize)
        self._parts = {
            v.name: (e.inputs[0].name, int(e["start"])) for v, e in self._around.parts.items()
        }
        # A matrix that several products read is packed once.
        sizes = {e.inputs[0].name: self._packed_size(e) for e in self.source.matrices}
        self._packed_at = dict(zip(sizes, running(sizes.values()), strict=True))
        self._packed = sum(sizes.values())
        jobs = (*self._around.before, *self._around.after)
        self._job_packed = max((self._packed_size(e) for e in jobs if e.op == "matmul"), default=0)
        self._streams = [v.name for v in self.source.streams]
        self._arrays = [v.name for v in self.source.arrays]
        self._factors = [e.inputs[0].name for e in self.source.matrices]
        self._shapes = {
            e.inputs[0].name: (int(e.inputs[0].shape[0]), int(e.inputs[0].shape[1]))
            for e in self.source.matrices
        }
        self._written = [v.name for v in self.source.written]
        self._constants = constants(placement.graph, dtype)
        self._first = [
            (e.out.name, call_to_torch(e, self.products, dtype)) for e in self._around.first
        ]
        self._last = [
            (e.out.name, call_to_torch(e, self.products, dtype), done)
            for e, done in zip(self._around.last, self._last_read(outliving), strict=True)
        ]
        self._workspaces = lru_cache(maxsize=256)(self.workspace)
        self._kept = [s for s in self._sequences if s.kept]
        self._final_shapes = [concrete(s.shape) for s in placement.graph.states]

    def _packed_size(self, product: Equation) -> int:
        m, k = map(int, product.inputs[0].shape)
        return whole(self.products.packed_size(m, k))

    def run(
        self,
        given: Mapping[str, Tensor],
        states: Sequence[Tensor],
        like: Tensor,
        steps: Steps,
        fresh: Sequence[Tensor],
    ) -> tuple[Values, tuple[Tensor, ...]]:
        """All values over [T, B] that outlive the loop, and the last states.

        ``fresh`` are what resets put in, or (backwards) zeros to which they add what they take out.
        """
        # C sees memory alone, and not that its numbers may stand for their negatives.
        values: Values = {name: value.resolve_neg() for name, value in given.items()}
        values.update(self._constants)
        for name, compute in self._first:
            values[name] = compute(values)
        n_steps, n_examples, *_ = like.shape
        downward = self._backwards != steps.opposite
        kept: Values = {}
        for sequence in self._kept:
            kept.update(in_tensors(sequence, n_steps, n_examples, self._dtype, downward))
        matrices = {
            name: POOL.empty((of.m, self.products.padded(of.n)), self._dtype)
            for name, of in self._jobs.matrices.items()
        }
        batch = len(states[0])
        final = tuple(
            torch.empty(batch, *shape, dtype=self._dtype, device="cpu")
            for shape in self._final_shapes
        )
        threads, sums = n_threads(), None
        if self.source.totals:
            sums = torch.zeros(threads, self.source.totals_size, dtype=self._dtype, device="cpu")
        if n_steps and n_examples:
            states = [state.resolve_neg().contiguous() for state in states]
            rows = Rows(values, kept, self._parts, n_steps, n_examples, self._dtype)
            if self._uneven:
                _copy(states, final)
                states = fresh
            self._call(values, rows, states, matrices, final, sums, threads, steps)
        else:
            _copy(states, final)
            for matrix in matrices.values():
                matrix.zero_()
        for sequence in self._kept:
            values.update(as_values(sequence, kept))
        for name, matrix in matrices.items():
            n = self._jobs.matrices[name].n
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

    def workspace(
        self, n_steps: int, n_examples: int, downward: bool, threads: int, shares: Shares
    ) -> Workspace:
        """The workspace of a call, whose work is shared in this way.

        ``downward`` is whether time is walked from the last step to the first.
        """
        at_once = shares.block if shares.split else shares.threads * shares.block
        of_jobs = self.products.outer_workspace(threads) if self._jobs.matrices else 0
        local = [s for s in self._sequences if not s.kept]
        sizes = [
            BARRIER_SIZE,
            self._packed,
            whole(max(self._job_packed, of_jobs)),
            at_once * self.source.scratch_row,
            *(whole(s.size(n_steps, n_examples)) for s in local),
        ]
        first = len(sizes) - len(local)
        places: list[tuple[str, int, int, int]] = []
        for area, sequence in enumerate(local, first):
            now, late = sequence.offsets(n_examples, downward)
            places.append((sequence.var.name, area, now, sequence.width))
            if sequence.state is not None:
                places.append((sequence.state.name, area, late, sequence.width))
        areas = tuple(zip(running(sizes), sizes, strict=True))
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
        steps: Steps,
    ) -> None:
        """The jobs before the loop, the loop, and the jobs after it."""
        source, size = self.source, self._dtype.itemsize
        first = array(
            "l", steps.first_rows((rows.n_steps, rows.n_examples)) if self._uneven else ()
        )
        n_steps = len(first) - 1 if self._uneven else rows.n_steps
        resets = None if steps.resets is None else steps.resets.contiguous()
        downward = self._backwards != steps.opposite
        # What there is to share goes with the mean number of examples; blocks are for the most.
        shares = share(n_steps, -(-rows.n_steps * rows.n_examples // n_steps), self._work, threads)
        if self._uneven:
            shares = for_uneven(shares, len(final[0]))
        plan = self._workspaces(rows.n_steps, rows.n_examples, downward, threads, shares)
        workspace = POOL.workspace(plan.size, self._dtype)
        begin = aligned(workspace)
        at = [begin + start * size for start, _ in plan.areas]
        barrier, at_packed, of_jobs, scratch, *_ = at
        for name, area, start, width in plan.sequences:
            rows[name] = at[area] + start * size, width
        self._jobs.do(self._jobs.before, values, rows, matrices, of_jobs, threads)
        packed = {n: at_packed + start * size for n, start in self._packed_at.items()}
        arrays = [dense(values[name], self._dtype) for name in self._arrays]
        addresses = Addresses(
            [rows[name] for name in self._streams],
            [a.data_ptr() for a in arrays],
            [packed[name] for name in self._factors],
            [s.data_ptr() for s in states] or [0] * len(final),
            [rows[name][0] for name in self._written],
            [t.data_ptr() for t in final],
            None if sums is None else sums.data_ptr(),
        )
        matrices_of_loop = [
            Packed(values[name], *self._shapes[name], to) for name, to in packed.items()
        ]
        call = call_numbers(
            self.products, n_steps, len(final[0]), shares, downward, source.scratch_row, barrier,
            scratch, first.buffer_info()[0], 0 if resets is None else resets.data_ptr(),
            matrices_of_loop, addresses,
        )  # fmt: skip
        self._run(call.buffer_info()[0])
        self._jobs.do(self._jobs.after, values, rows, matrices, of_jobs, threads)


def _copy(states: Sequence[Tensor], to: Sequence[Tensor]) -> None:
    for state, its in zip(states, to, strict=True):
        its.copy_(state)
