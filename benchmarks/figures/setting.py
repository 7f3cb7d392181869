"""Under what a figure is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """``gflops``: the multiply-add peak of so many threads, measured in the same run."""

    quick: bool
    threads: int
    gflops: float
