"""Budgets of the experiments that take a second: for tests of all that is around the numbers."""

from typing import Any

from unrolled.experiments import counting, exploding, memory, speed, vanishing

TINY: dict[str, Any] = {
    "vanishing": vanishing.Budget(steps=12, inputs=3, hidden=5, batch=3, networks=2),
    "exploding": exploding.Budget(
        length=8, hidden=5, batch=4, steps=12, rate=0.01, gains=(0.9, 1.0, 3.0), starts=2
    ),
    "memory": memory.Budget(
        hidden=6, batch=8, steps=30, rate=0.01, adding=(2, 4), copying=(1, 2), symbols=1,
        alphabet=2, starts=2,
    ),
    "counting": counting.Budget(hidden=4, steps=30, rate=0.02, trained=3, tested=6, starts=2),
    "speed": speed.Budget(hidden=6, batch=2, window=5, steps=40, rate=0.01, rounds=2),
}  # fmt: skip
