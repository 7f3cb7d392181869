"""A call's time over its number of steps as ``overhead + step · T``: telling the two apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Fit:
    """Seconds of a call that don't depend on its steps, and seconds a step."""

    overhead_s: float
    step_s: float

    def flatness(self, steps: int, seconds: float) -> float:
        """A step's time at this number of steps, the overhead taken off, beside the fit's."""
        return (seconds - self.overhead_s) / (steps * self.step_s)


def fit(times: Mapping[int, float]) -> Fit:
    """The line with the smallest squares of relative errors, so that short calls count as much.

    ``times`` are seconds by number of steps, two or more, all positive.
    """
    steps = np.array(list(times), dtype=float)
    seconds = np.array(list(times.values()), dtype=float)
    columns = np.stack([1 / seconds, steps / seconds], axis=1)
    (overhead, step), *_ = np.linalg.lstsq(columns, np.ones_like(seconds), rcond=None)
    return Fit(float(overhead), float(step))
