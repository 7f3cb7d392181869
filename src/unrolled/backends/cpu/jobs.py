"""The products around a loop as jobs: what each reads and writes, in numbers for C."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from unrolled.backends.cpu.around import Around
from unrolled.backends.cpu.products import Products
from unrolled.backends.cpu.rows import Rows
from unrolled.backends.protocol import Values
from unrolled.ir import Equation


@dataclass(frozen=True)
class Matrix:
    """A result of jobs [m, n]: which rows each job's part of it starts at."""

    m: int
    n: int
    parts: Mapping[str, int]


@dataclass(frozen=True)
class Job:
    """A product by the names of its operands: of a matrix [m, k] and rows, or of rows and rows."""

    outer: bool
    m: int
    k: int
    first: str
    second: str
    out: str


class Jobs:
    """The jobs before and after one loop, and the matrices that they give."""

    def __init__(self, around: Around, products: Products, itemsize: int) -> None:
        self.before = [_job(e) for e in around.before]
        self.after = [_job(e) for e in around.after]
        self.matrices = _results(around)
        self._products = products
        self._itemsize = itemsize

    def do(
        self,
        jobs: Sequence[Job],
        values: Values,
        rows: Rows,
        matrices: Values,
        workspace: int,
        threads: int,
    ) -> None:
        """Run these jobs, one after the other, on memory of their own at ``workspace``."""
        if not jobs:
            return
        to = {
            part: (matrix.data_ptr() + start * matrix.shape[1] * self._itemsize, matrix.shape[1])
            for name, matrix in matrices.items()
            for part, start in self.matrices[name].parts.items()
        }
        numbers: list[int] = []
        for job in jobs:
            numbers += job.outer, rows.n_steps * rows.n_examples, job.k, job.m
            if job.outer:
                numbers += *rows[job.first], *rows[job.second], 1, workspace, *to[job.out]
            else:
                matrix = values[job.first]
                numbers += *rows[job.second], matrix.data_ptr(), *matrix.stride(), workspace
                numbers += rows[job.out]
        self._products.do(len(jobs), array("l", numbers), threads)


def _job(equation: Equation) -> Job:
    first, second = equation.inputs
    m, k = (int(first.shape[0]), int(second.shape[0]))
    return Job(equation.op == "total_outer", m, k, first.name, second.name, equation.out.name)


def _results(around: Around) -> dict[str, Matrix]:
    """Sums of outer products, each alone or joined with others."""
    joined = {v for parts in around.joins.values() for v in parts}
    sums = [e.out for e in around.after if e.op == "total_outer"]
    results = {v: (v,) for v in sums if v not in joined} | around.joins
    found: dict[str, Matrix] = {}
    for var, parts in results.items():
        m, n = map(int, var.shape)
        starts = running(int(v.shape[0]) for v in parts)
        found[var.name] = Matrix(m, n, dict(zip((v.name for v in parts), starts, strict=True)))
    return found


def running(sizes: Iterable[int]) -> list[int]:
    """Where each of these sizes starts, one after the other."""
    return [0, *accumulate(sizes)][:-1]
