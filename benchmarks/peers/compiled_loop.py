"""``torch.compile`` of the plain loop: all T steps in one graph."""

from __future__ import annotations

import torch

from benchmarks.peers.contestant import Contestant
from benchmarks.peers.loop import LOOPS, run
from benchmarks.problems import Mode, Problem


def build(problem: Problem, mode: Mode) -> Contestant:
    """The loop under ``torch.compile``; its first call compiles."""
    torch.compiler.reset()
    return run(torch.compile(LOOPS[problem.cell.name], fullgraph=True), problem, mode)
