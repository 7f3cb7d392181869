"""How a loop's work is shared between threads: blocks of rows, or the columns of its products."""

from __future__ import annotations

from dataclasses import dataclass

MOST_ROWS = 64
"""Examples in a block: their scratch memory is to stay in a core's cache beside the weights."""

BARRIER = 8_000
"""The two barriers around a product take as long as so many weights that pass by a full tile."""

WORTH = 0.9
"""Columns are shared where that takes less than this part of the other's time."""

_TILE = 8
_LEAST = 0.6
"""However few rows: the time to load the weights, as a part of that in which a tile uses them."""


@dataclass(frozen=True)
class Shares:
    """``split``: all threads share products by columns; else each takes blocks of rows."""

    split: bool
    block: int
    threads: int


def share(n_examples: int, work: int, threads: int) -> Shares:
    """The cost model; ``work`` is the number of weights in a step's products.

    A product's time goes with its rows, but for fewer than a tile it is that of loading the
    weights.  Shared by rows, all weights pass by each thread's rows, and there is no barrier.
    Shared by columns, each thread's weights pass by all rows.
    """
    per_thread = -(-n_examples // threads)
    by_rows = work * _passes(per_thread)
    by_columns = work * _passes(n_examples) / threads + BARRIER
    if threads > 1 and n_examples <= MOST_ROWS and by_columns < WORTH * by_rows:
        return Shares(True, n_examples, threads)
    blocks = -(-per_thread // MOST_ROWS)
    block = -(-per_thread // blocks)
    return Shares(False, block, min(threads, -(-n_examples // block)))


def _passes(n_rows: int) -> float:
    """How long the weights take to pass by so many rows, in units of a full tile's time."""
    return max(_LEAST, n_rows / _TILE)
