"""How a loop's work is shared between threads: blocks of rows, or the columns of its products."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from unrolled.ir import Equation, n_elements
from unrolled.ops import TABLE

MOST_ROWS = 64
"""Examples in a block: their scratch memory is to stay in a core's cache beside the weights."""

BARRIERS_COST = 8_000
START_COST = 100_000
"""The two barriers around a product, and having threads start, in the unit of ``Work``."""

WORTH = 0.9
"""Columns are shared where that takes less than this part of the other's time."""

_TILE = 8
_LEAST = 0.6
"""However few rows: the time to load the weights, as a part of that in which a tile uses them."""


@dataclass(frozen=True)
class Work:
    """Of a step: ``weights`` of its products, and ``elements`` computed for each example.

    The unit is the time in which a weight passes by a full tile of rows, or an element is computed.
    """

    weights: int
    elements: int


def work_of(loop: Iterable[Equation]) -> Work:
    """The work of a step with these equations."""
    equations = tuple(loop)
    return Work(
        sum(n_elements(e.inputs[0].shape) for e in equations if e.op == "matmul"),
        sum(n_elements(e.out.shape) for e in equations if TABLE[e.op].elementwise),
    )


@dataclass(frozen=True)
class Shares:
    """``split``: all threads share products by columns; else each takes blocks of rows."""

    split: bool
    block: int
    threads: int


@lru_cache(maxsize=1024)
def share(n_steps: int, n_examples: int, work: Work, threads: int) -> Shares:
    """The cost model.

    A product's time goes with its rows, but for fewer than a tile it is that of loading the
    weights.  Shared by rows, all weights pass by each thread's rows, and there is no barrier.
    Shared by columns, each thread's weights pass by all rows.
    """
    per_thread = -(-n_examples // threads)
    alone = work.weights * _passes(n_examples) + n_examples * work.elements
    by_rows = work.weights * _passes(per_thread) + per_thread * work.elements
    by_columns = (
        work.weights * _passes(n_examples) / threads + per_thread * work.elements + BARRIERS_COST
    )
    start = START_COST / n_steps
    if n_examples <= MOST_ROWS and by_columns + start < WORTH * min(alone, by_rows + start):
        return Shares(True, n_examples, threads)
    if alone <= by_rows + start:
        threads, per_thread = 1, n_examples
    blocks = -(-per_thread // MOST_ROWS)
    block = -(-per_thread // blocks)
    return Shares(False, block, min(threads, -(-n_examples // block)))


def for_uneven(shares: Shares, n_examples: int) -> Shares:
    """The same for steps of different numbers of examples, the most of which is ``n_examples``.

    Each thread has its part of every step, and takes it in blocks.
    """
    if shares.split:
        return Shares(True, n_examples, shares.threads)
    return Shares(False, min(MOST_ROWS, -(-n_examples // shares.threads)), shares.threads)


def _passes(n_rows: int) -> float:
    """How long the weights take to pass by so many rows, in units of a full tile's time."""
    return max(_LEAST, n_rows / _TILE)
