"""How far rounding may take two ways of computing a model's output from each other.

Rounding a sum of n products is the same as changing each factor by n·u at most, relative to itself
(Higham 2002, "Accuracy and Stability of Numerical Algorithms", 2nd ed., section 3.5), and the few
roundings of a function between two sums are a change of the next sum's factors.  So what rounding
does to an output is what changing the parameters by so much does, at each step anew.  How much an
output changes with its parameters, its condition, is measured: the largest change over several
random directions, in float64 or as the model computes, far above rounding.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

BETWEEN = 12
"""Roundings between two sums: biases, and the functions and products of a step."""

_DRAWS = 5
_LOOSEST = {torch.float64: 1e-9, torch.float32: 2e-3}


def rounding(model: nn.Module, run: Callable[[], Tensor], steps: int) -> float:
    """The largest difference that rounding can make between two ways to compute ``run()``.

    Args:
        model: Whose parameters ``run`` reads.
        run: Computes the output; the same each time.
        steps: The steps that a value passes one after the other, of all layers.
    """
    with torch.no_grad():
        output = run()
        precision = torch.finfo(output.dtype)
        # Of one order in what is measured, and twice as many digits as rounding leaves.
        change = precision.eps**0.5
        draw = torch.Generator().manual_seed(7)
        parameters = list(model.parameters())
        kept = [p.clone() for p in parameters]
        condition = 0.0
        for _ in range(_DRAWS):
            for p, value in zip(parameters, kept, strict=True):
                sign = (2 * torch.randint(2, p.shape, generator=draw) - 1).to(p.dtype)
                p.copy_(value * (1 + change * sign))
            condition = max(condition, float((run() - output).abs().max()) / change)
        for p, value in zip(parameters, kept, strict=True):
            p.copy_(value)
    longest = max(max(p.shape) for p in parameters)
    # Both ways round: each by half of eps.
    bound = (longest + BETWEEN) * steps * precision.eps * condition
    assert 0 < bound < _LOOSEST[output.dtype], f"{bound:.3g} can't tell a mistake from rounding"
    return bound


def assert_near(
    found: Tensor, expected: Tensor, model: nn.Module, run: Callable[[], Tensor], steps: int
) -> None:
    """Both are the same but for rounding; ``run`` computes one of them, or all of it."""
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    bound = rounding(model, run, steps)
    off = float((found - expected).detach().abs().max())
    assert off <= bound, f"off by {off:.3g}, and rounding allows {bound:.3g}"
