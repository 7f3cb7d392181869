"""Ours: ``unrolled.recurrence`` on the CPU backend, called as users call it."""

from __future__ import annotations

from benchmarks.peers.contestant import Contestant, in_torch
from benchmarks.problems import Mode, Problem
from unrolled import recurrence


def build(problem: Problem, mode: Mode) -> Contestant:
    """The generated kernel, forward and backward through autograd."""
    x, params = problem.leaves(mode)
    return in_torch(
        problem,
        mode,
        lambda: recurrence(problem.cell, x, problem.states, params, backend="cpu"),
        (x, *params.values()),
    )
