"""The workspace of a call: how much memory it takes, and what lies where in it."""

from __future__ import annotations

from dataclasses import dataclass

from unrolled.backends.cpu.products import ALIGNMENT
from unrolled.backends.cpu.sharing import Shares

BARRIER_SIZE = 32
"""How many numbers of workspace the barrier has for itself: two cache lines at least."""


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


def whole(n: int) -> int:
    """``n`` numbers or more, in whole cache lines."""
    return -(-n // ALIGNMENT) * ALIGNMENT
