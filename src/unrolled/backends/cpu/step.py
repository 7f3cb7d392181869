"""One time step at a time on the CPU, for streams: weights packed once, no memory taken in a step.

The generated loop is the one for sequences, with all that varies by step in it, the input's product
too, and runs over one step.  Its numbers are made once; a step writes the input's address among
them and calls.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor

from unrolled.backends.cpu.build import load
from unrolled.backends.cpu.call import (
    Addresses,
    Packed,
    call_numbers,
    call_to_torch,
    constants,
    dense,
)
from unrolled.backends.cpu.emit import emit
from unrolled.backends.cpu.place import Placement, place_step
from unrolled.backends.cpu.products import ALIGNMENT, PRECISION, aligned, products
from unrolled.backends.cpu.sharing import share, work_of
from unrolled.backends.cpu.threads import n_threads
from unrolled.backends.cpu.workspace import BARRIER_SIZE, whole
from unrolled.backends.protocol import Values
from unrolled.ir import n_elements
from unrolled.passes.stages import Schedule

AWAKE = 100
"""As a step of how many threads are shared: they are awake yet from the step before."""


class CpuStep:
    """A step of so many examples; ``y`` and ``states`` [B, size] are memory that it writes to."""

    def __init__(
        self,
        schedule: Schedule,
        parameters: Mapping[str, Tensor],
        states: Sequence[Tensor],
        invariant: bool,
    ) -> None:
        placement = place_step(schedule)
        batch, dtype = len(states[0]), states[0].dtype
        self._dtype = dtype
        self._products = products(dtype, invariant)
        self._source = emit(placement, self._products.lanes)
        library = load(self._source.text, {PRECISION[dtype]: "1"})
        for function in (library.ur_pack, library.ur_run_packed):
            function.argtypes, function.restype = [ctypes.c_void_p], None
        self._pack, self._run = library.ur_pack, library.ur_run_packed
        self._placement = placement
        self._batch = batch
        self.states = tuple(s.resolve_neg().contiguous().clone() for s in states)
        self._written = {
            v.name: torch.empty(batch, n_elements(v.shape), dtype=dtype) for v in placement.written
        }
        self.y = self._output(placement)
        y_start = self.y.data_ptr()
        self._y_memory = y_start, y_start + self.y.nbytes
        self._fed_back = torch.empty_like(self.y)
        self.refresh(parameters)

    def refresh(self, parameters: Mapping[str, Tensor]) -> None:
        """Take these parameters, and as many threads as torch is told to now."""
        self._parameters = dict(parameters)
        placement, source, dtype = self._placement, self._source, self._dtype
        self._threads = n_threads()
        self._shares = share(AWAKE, self._batch, work_of(placement.loop), self._threads)
        values = {n: p.detach().resolve_neg() for n, p in self._parameters.items()}
        values.update(constants(placement.graph, dtype))
        for equation in placement.before:
            compute = call_to_torch(equation, self._products, dtype)
            values[equation.out.name] = compute(values)
        self._keep(values)
        (output,) = placement.graph.outputs
        if not output.var.per_step:
            self.y.copy_(values[output.var.name].expand_as(self.y))
        factors: dict[str, tuple[int, int]] = {}
        for equation in source.matrices:
            m, k = map(int, equation.inputs[0].shape)
            factors[equation.inputs[0].name] = m, k
        sizes = [whole(self._products.packed_size(m, k)) for m, k in factors.values()]
        scratch_rows = self._shares.block * (1 if self._shares.split else self._shares.threads)
        areas = [BARRIER_SIZE, *sizes, scratch_rows * source.scratch_row]
        self._memory = torch.empty(sum(areas) + ALIGNMENT, dtype=dtype)
        begin = aligned(self._memory)
        barrier, *at_packed, scratch = (
            begin + start * dtype.itemsize for start in (0, *accumulate(areas[:-1]))
        )
        packed = dict(zip(factors, at_packed, strict=True))
        addresses = Addresses(
            streams=[(0, n_elements(v.shape)) for v in source.streams],
            arrays=[self._values[v.name].data_ptr() for v in source.arrays],
            factors=[packed[e.inputs[0].name] for e in source.matrices],
            states=[s.data_ptr() for s in self.states],
            written=[self._written[v.name].data_ptr() for v in source.written],
            final=[s.data_ptr() for s in self.states],
        )
        matrices = [Packed(values[n], *shape, packed[n]) for n, shape in factors.items()]
        self._numbers = call_numbers(
            self._products, 1, self._batch, self._shares, False, source.scratch_row, barrier,
            scratch, 0, 0, matrices, addresses,
        )  # fmt: skip
        self._address = self._numbers.buffer_info()[0]
        self._at_x = len(self._numbers) - len(addresses.numbers())
        self._pack(self._address)

    def step(self, x: Tensor) -> None:
        """One step on ``x`` [B, D], contiguous and of the states' dtype."""
        if n_threads() != self._threads:  # fewer in a forked process, where more would wait
            self.refresh(self._parameters)
        if self._source.streams:
            address = x.data_ptr()
            if self._y_memory[0] <= address < self._y_memory[1]:
                # The last output, which this step may write before it has read all of it.
                address = self._fed_back.copy_(x.view_as(self._fed_back)).data_ptr()
            self._numbers[self._at_x] = address
        self._run(self._address)

    def _keep(self, values: Values) -> None:
        """Hold what the loop reads as arrays, as long as its addresses are used."""
        self._values = {v.name: dense(values[v.name], self._dtype) for v in self._source.arrays}

    def _output(self, placement: Placement) -> Tensor:
        (output,) = placement.graph.outputs
        if output.var.per_step:
            return self._written[output.var.name]
        return torch.empty(self._batch, n_elements(output.var.shape), dtype=self._dtype)
