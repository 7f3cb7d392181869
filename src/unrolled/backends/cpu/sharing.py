"""How a loop's work is shared between threads: blocks of rows, or the columns of its products."""

from __future__ import annotations

from dataclasses import dataclass

MOST_ROWS = 64
"""Examples in a block: their scratch memory is to stay in a core's cache beside the weights."""

SPLIT_WORK = 200_000
"""Multiplications a step of one example from which threads share a product rather than the rows.

Below, a barrier costs more than the product.
"""


@dataclass(frozen=True)
class Shares:
    """``split``: all threads share products by columns; else each takes blocks of rows."""

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
