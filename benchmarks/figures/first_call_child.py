"""``python -m benchmarks.figures.first_call_child CELL MODE T THREADS``: a process's first call.

Torch has been imported and its threads and autograd have been used once: what they take to start is
not ours.  Prints the seconds of the first call and of the fastest of a few later ones.
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

import torch
from torch import Tensor, sigmoid, tanh

from benchmarks import machine
from benchmarks.grid import Point, square
from benchmarks.peers import OURS
from benchmarks.problems import MODES, Mode, of_cell
from unrolled import cell, param
from unrolled.cells import CELLS

B, H = 1, 128
LATER = 5


@cell
def own(
    x: Tensor,
    h: Tensor,
    *,
    W: Tensor = param("3*H", "D"),
    U: Tensor = param("3*H", "H"),
    b: Tensor = param("3*H"),
    rate: Tensor = param("H"),
) -> Tensor:
    """A gated unit that leaks at a rate of its own."""
    v, u, s = (W @ x + U @ h + b).chunk(3)
    gate = sigmoid(v) * sigmoid(rate)
    return (1 - gate) * h + gate * tanh(u) * sigmoid(s)


def _start_torch() -> None:
    """Start what torch starts at its first products and its first backward pass."""
    weight = torch.randn(256, 256, requires_grad=True)
    (torch.randn(256, 256) @ weight).tanh().sum().backward()


def seconds(name: str, mode: Mode, point: Point) -> tuple[float, float]:
    """Of the first call, and of the fastest later one."""
    chosen = own if name == "own" else CELLS[name]
    contestant = OURS(of_cell(chosen, point), mode)
    _start_torch()
    times: list[float] = []
    for _ in range(1 + LATER):
        start = perf_counter()
        contestant.call()
        times.append(perf_counter() - start)
    return times[0], min(times[1:])


def main() -> None:
    """Print both as JSON."""
    name, mode, T, threads = sys.argv[1:]
    if mode not in MODES:
        raise ValueError(f"mode {mode!r}: expected one of {', '.join(MODES)}")
    machine.pin(int(threads))
    print(json.dumps(seconds(name, mode, square(int(T), B, H))))


if __name__ == "__main__":
    main()
