"""What grows with the number of steps as a line, ``fixed + step · T``: telling the two apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fit:
    """What doesn't depend on the steps, and what each step adds: seconds, or bytes."""

    fixed: float
    step: float

    def flatness(self, steps: int, value: float) -> float:
        """What each of so many steps adds, beside the fit's."""
        return (value - self.fixed) / (steps * self.step)

    def off(self, steps: int, value: float) -> float:
        """How far the line is from a value, relative to it."""
        return abs((self.fixed + self.step * steps) / value - 1)


def fit(by_steps: Mapping[int, float]) -> Fit:
    """The line with the smallest squares of relative errors, so that few steps count as much.

    ``by_steps`` are positive values by number of steps, two or more.
    """
    steps = np.array(list(by_steps), dtype=float)
    values = np.array(list(by_steps.values()), dtype=float)
    columns = np.stack([1 / values, steps / values], axis=1)
    (fixed, step), *_ = np.linalg.lstsq(columns, np.ones_like(values), rcond=None)
    return Fit(float(fixed), float(step))
