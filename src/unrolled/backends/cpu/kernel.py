"""Running a plan on the CPU: the loop in C, and around it torch and our matrix products."""

from __future__ import annotations

import ctypes
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.backends.cpu.build import load
from unrolled.backends.cpu.emit import Source, emit
from unrolled.backends.cpu.place import Placement, place
from unrolled.backends.cpu.products import PRECISION, Products, empty, products
from unrolled.backends.cpu.threads import n_threads
from unrolled.backends.protocol import Gradients, Run, Values
from unrolled.ir import Equation, Var, concrete
from unrolled.lower import Plan
from unrolled.ops import TABLE
from unrolled.passes.stages import Schedule

_LONG = ctypes.c_long
MOST_ROWS = 64
"""Examples in a block: their scratch memory is to stay in a core's cache beside the weights."""

SPLIT_WORK = 200_000
"""Multiplications a step of one example from which threads share a product rather than the rows.

Below, a barrier costs more than the product.
"""


class CpuKernel:
    """A plan as two compiled loops; each precision is compiled at its first use."""

    differentiable = False

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        residuals = () if plan.reverse is None else plan.reverse.graph.residuals
        self._wanted = tuple(v.name for v in residuals)
        self._loops: dict[tuple[torch.dtype, bool], _Loop] = {}

    def _loop(self, dtype: torch.dtype, backwards: bool) -> _Loop:
        key = (dtype, backwards)
        if key not in self._loops:
            schedule = self.plan.reverse if backwards else self.plan.forward
            assert schedule is not None, "lowered without wrt"
            self._loops[key] = _Loop(schedule, () if backwards else self._wanted, dtype, backwards)
        return self._loops[key]

    def source(self, dtype: torch.dtype, backwards: bool) -> str:
        """The C of one direction."""
        return self._loop(dtype, backwards).source.text

    def forward(
        self, x: Tensor, states: Sequence[Tensor], parameters: Mapping[str, Tensor], keep: bool
    ) -> Run:
        """Run over ``x`` [T, B, D] from ``states`` ([B, size] each)."""
        graph = self.plan.forward.graph
        given = {graph.inputs[0].name: x, **parameters}
        values, final = self._loop(x.dtype, False).run(given, states, x)
        outputs = {o.name: _spread(values, o.var, x) for o in graph.outputs}
        return Run(outputs, final, {n: values[n] for n in self._wanted} if keep else {})

    def backward(
        self, residuals: Values, d_outputs: Mapping[str, Tensor], d_states: Sequence[Tensor]
    ) -> Gradients:
        """Run the reverse step from the last time step to the first."""
        assert self.plan.reverse is not None, "lowered without wrt"
        graph, forward = self.plan.reverse.graph, self.plan.forward.graph
        named = zip(graph.inputs, (o.name for o in forward.outputs), strict=True)
        d_named = {v.name: d_outputs[n] for v, n in named}
        like = next(iter(d_named.values()))
        values, final = self._loop(like.dtype, True).run({**residuals, **d_named}, d_states, like)
        over_time = {v.name for v in forward.inputs}
        outputs = {
            o.name: _spread(values, o.var, like) if o.name in over_time else values[o.var.name]
            for o in graph.outputs
        }
        return Gradients(outputs, final)


def _part(memory: Tensor, start: int, length: int) -> Tensor:
    """``memory[start : start + length]`` as a tensor of its own.

    Autograd forbids writing to an output that is a view; a user may write to any other.
    """
    part = torch.empty(0, dtype=memory.dtype)
    offset = memory.storage_offset() + start * memory.stride(0)
    shape = (length, *memory.shape[1:])
    return part.set_(memory.untyped_storage(), offset, shape, memory.stride())


def _spread(values: Values, var: Var, like: Tensor) -> Tensor:
    value = values[var.name]
    return value if var.per_step else value.expand(*like.shape[:2], *value.shape)


@dataclass(frozen=True)
class Shares:
    """How a loop's work is shared: ``split`` products by columns, or blocks of rows."""

    split: bool
    block: int
    threads: int


def share(n_examples: int, work: int, threads: int) -> Shares:
    """The cost model.

    With a register tile's worth of rows (8) for every thread, rows are split: no barrier, and each
    packed weight that a thread loads serves many rows.  With fewer rows, a step's time is that of
    loading the weights, so threads share them by columns, if a product is long enough to pay for
    a barrier. ``work`` is the number of multiplications of one example's step.
    """
    per_thread = -(-n_examples // threads)
    if threads > 1 and per_thread < 8 and work >= SPLIT_WORK and n_examples <= MOST_ROWS:
        return Shares(True, n_examples, threads)
    blocks = -(-per_thread // MOST_ROWS)
    block = -(-per_thread // blocks)
    return Shares(False, block, min(threads, -(-n_examples // block)))


class _Loop:
    """One direction in one precision: placed, emitted, compiled and loaded."""

    def __init__(
        self, schedule: Schedule, wanted: Collection[str], dtype: torch.dtype, backwards: bool
    ) -> None:
        self.placement: Placement = place(schedule, wanted)
        self.products: Products = products(dtype)
        self.source: Source = emit(self.placement, self.products.lanes)
        library = load(self.source.text, {PRECISION[dtype]: "1"})
        self._run = library.ur_run
        self._backwards = backwards
        self._dtype = dtype
        self._work = sum(
            int(e.inputs[0].shape[0]) * int(e.inputs[0].shape[1]) for e in self.source.matrices
        )
        later = {v.name for e in self.placement.after for v in e.inputs} | set(wanted)
        later |= {o.var.name for o in self.placement.graph.outputs}
        # What only the loop reads, such as the input's product, is large: let go of it in time.
        self._passing = [
            e.out.name for e in self.placement.before if e.out.per_step and e.out.name not in later
        ]
        self._constants = {
            c.var.name: torch.tensor(c.data, dtype=dtype).reshape(concrete(c.var.shape))
            for c in self.placement.graph.constants
        }

    def run(
        self, given: Mapping[str, Tensor], states: Sequence[Tensor], like: Tensor
    ) -> tuple[Values, tuple[Tensor, ...]]:
        """All values over [T, B] that outlive the loop, and the last states."""
        values: Values = {**given, **self._constants}
        self._around(self.placement.before, values, like)
        n_steps, n_examples = like.shape[:2]
        source, graph = self.source, self.placement.graph
        out, sequences = self._sequences(states, n_steps, n_examples)
        final = tuple(
            torch.empty(n_examples, *concrete(s.shape), dtype=self._dtype) for s in graph.states
        )
        threads = n_threads()
        sums = [
            torch.zeros(threads, *concrete(e.out.shape), dtype=self._dtype) for e in source.totals
        ]
        if n_steps and n_examples:
            self._call(values, states, out, final, sums, n_steps, n_examples, threads)
        else:
            for to, state in zip(final, states, strict=True):
                to.copy_(state)
        for name in self._passing:
            del values[name]
        values.update((v.name, t != 0 if v.dtype == "bool" else t) for v, t in sequences.items())
        values.update((e.out.name, s.sum(0)) for e, s in zip(source.totals, sums, strict=True))
        self._around(self.placement.after, values, like)
        return values, final

    def _sequences(
        self, states: Sequence[Tensor], n_steps: int, n_examples: int
    ) -> tuple[dict[Var, Tensor], dict[Var, Tensor]]:
        """Memory for what is written, and all sequences in it: a state is its next, a step late."""
        initial = dict(zip(self.placement.graph.states, states, strict=True))
        state_of = {following: state for state, following in self.placement.shifted}
        out: dict[Var, Tensor] = {}
        for var in self.source.written:
            extra = int(var in state_of)
            memory = empty((n_steps + extra, n_examples, *concrete(var.shape)), self._dtype)
            out[var] = _part(memory, 0 if self._backwards else extra, n_steps)
            if extra:
                memory[n_steps if self._backwards else 0] = initial[state_of[var]]
        sequences = dict(out)
        for state, following in self.placement.shifted:
            later = out[following]
            if state_of[following] == state:
                step = later.stride(0) if self._backwards else -later.stride(0)
                start = later.storage_offset() + step
                sequences[state] = later.as_strided(later.shape, later.stride(), start)
        return out, sequences

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
        streams = [self._stream(values[v.name], n_steps, n_examples) for v in source.streams]
        arrays = [self._array(values[v.name]) for v in source.arrays]
        packed_by_matrix: dict[Var, Tensor] = {}
        for equation in source.matrices:
            matrix = equation.inputs[0]
            if matrix not in packed_by_matrix:
                packed_by_matrix[matrix] = self.products.pack(values[matrix.name].detach())
        packed = [packed_by_matrix[e.inputs[0]] for e in source.matrices]
        initial = [s.contiguous() for s in states]
        held = [*(s for s, _ in streams), *arrays, *packed, *initial, *out.values(), *final, *sums]
        pointers = (ctypes.c_void_p * max(1, len(held)))(*(t.data_ptr() for t in held))
        rows = (_LONG * max(1, len(streams)))(*(apart for _, apart in streams))
        shares = share(n_examples, self._work, threads)
        own_rows = n_examples if shares.split else shares.block
        per_thread = own_rows * (source.scratch_row + (0 if shares.split else source.shared_row))
        size = shares.threads * (per_thread + source.widest)
        size += n_examples * source.shared_row if shares.split else 0
        workspace = torch.empty(size + 16, dtype=self._dtype)
        self._run(
            _LONG(n_steps), _LONG(n_examples), _LONG(shares.block), int(self._backwards),
            int(shares.split), shares.threads, pointers, rows,
            ctypes.c_void_p(workspace.data_ptr()),
            _LONG(source.scratch_row), _LONG(source.shared_row), _LONG(source.widest),
            self.products.product, self.products.count_panels,
        )  # fmt: skip

    def _array(self, value: Tensor) -> Tensor:
        dense = value if value.is_contiguous() else value.contiguous()
        return dense if dense.dtype is self._dtype else dense.to(self._dtype)

    def _stream(self, value: Tensor, n_steps: int, n_examples: int) -> tuple[Tensor, int]:
        """A sequence [T, B, n] and the distance of its rows, even over examples and steps."""
        real = value if value.dtype is self._dtype else value.to(self._dtype)
        flat = real if real.ndim == 3 else real.reshape(n_steps, n_examples, -1)
        width = flat.shape[2]
        # torch gives a dimension of length 1 any stride.
        apart = flat.stride(1) if n_examples > 1 else flat.stride(0) if n_steps > 1 else width
        even = flat.stride(0) == n_examples * apart or n_steps == 1
        dense = flat.stride(2) == 1 or width == 1
        return (flat, apart) if even and dense and apart >= width else (flat.contiguous(), width)

    def _around(self, equations: Iterable[Equation], values: Values, like: Tensor) -> None:
        for equation in equations:
            operands = [values[a.name] if isinstance(a, Var) else a for a in equation.args]
            over_time = equation.op == "matmul" and equation.inputs[1].per_step
            if over_time:
                result = self.products.rows(operands[1], operands[0])  # type: ignore[arg-type]
            elif equation.op == "total_outer":
                result = self.products.total_outer(operands[0], operands[1])  # type: ignore[arg-type]
            else:
                if equation.op == "where" and not isinstance(operands[1], Tensor):
                    operands[1] = torch.tensor(operands[1], dtype=like.dtype)
                result = TABLE[equation.op].run(equation, *operands)
            values[equation.out.name] = result
