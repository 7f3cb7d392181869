"""What a recurrence must do at least, and how long that takes at the machine's limits.

Counted are the products alone.  With G rows of weights for each hidden unit, the forward pass
multiplies and adds G·H·D times for x and G·H·H times for h, for each example and step.  The
backward pass has each of the two twice, for the operand's gradient and for the weights'.
"""

from __future__ import annotations

from benchmarks.grid import Point
from benchmarks.limits import Limits
from benchmarks.problems import Mode

GATES = {
    "rnn": 1,
    "gru": 3,
    "gru_cho": 3,
    "lstm": 4,
    "lstm_peephole_gers": 4,
    "lstm_layer_norm": 4,
}


def flops(cell: str, point: Point, mode: Mode) -> float:
    """Additions and multiplications in the products."""
    once = 2.0 * point.T * point.B * GATES[cell] * point.H * (point.D + point.H)
    return once if mode == "inference" else 3 * once


def loop_flops(cell: str, point: Point) -> float:
    """Those of the products with h alone, which one loop over time does; backward has as many."""
    return 2.0 * point.T * point.B * GATES[cell] * point.H * point.H


def shortest_s(cell: str, point: Point, mode: Mode, limits: Limits) -> float:
    """Seconds that the machine needs at least.

    What runs over all steps at once goes at the FMA peak.  A step's recurrent product goes at the
    peak, or at the bandwidth at which its weights come from the cache that they fit into, whichever
    is slower; backward has one such product too, with d_h.
    """
    peak = limits.gflops * 1e9
    loops = 1 if mode == "inference" else 2
    weights = GATES[cell] * point.H * point.H
    multiplying = 2.0 * point.B * weights / peak
    reading = 4.0 * weights / (limits.gb_s(4.0 * weights) * 1e9)
    around = (flops(cell, point, mode) - loops * loop_flops(cell, point)) / peak
    return around + loops * point.T * max(multiplying, reading)
