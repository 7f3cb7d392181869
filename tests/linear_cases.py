"""Linear cells, and random calls of them with all that is compared of two runs."""

# A step function stands as a user writes it, without annotations.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import torch
from torch import Tensor, sigmoid, tanh

from unrolled import cell, cells, param, recurrence
from unrolled.cell import Cell

D, H = 3, 4


@cell
def signed(x, h, *, W=param("H", "D"), V=param("H", "D")):
    """Factors of either sign, and an output that reads the state before the step."""
    return tanh(W @ x) * h + V @ x, (tanh(W @ x) * h + V @ x,), {"before": h * h}


@cell
def two_states(x, h, c, *, W=param("2*H", "D"), b=param("H")):
    """Two states with an output of both, one affine in a vector that stays."""
    f, v = (W @ x).chunk(2)
    h = (1 - sigmoid(f)) * h - v
    c = -(c - b) / (1.5 + b * b) + c
    return h * tanh(c), (h, c), {"both": h + c}


@cell
def forgetful(x, h, c, k, *, W=param("H", "D"), b=param("H")):
    """States that are free of the state, the same for all, and handed on, beside a linear one."""
    return k * c + h, (W @ x, sigmoid(b), k)


@cell
def decaying(x, h, *, nu=param("H"), W=param("H", "D")):
    """The decay of a linear recurrent unit (Orvieto et al. 2023), the same at every step."""
    return torch.exp(-torch.exp(nu)) * h + W @ x


@cell
def unbounded(x, h, *, W=param("H", "D")):
    """Linear, and its factors may be of any size."""
    return (W @ x) * h + 1


LINEAR = (cells.mingru, cells.minlstm, cells.sru, signed, two_states, forgetful, decaying)


@dataclass(frozen=True)
class Case:
    """A random call; ``leaves`` are x, states, what resets put in, parameters."""

    of: Cell
    x: Tensor
    states: tuple[Tensor, ...]
    fresh: tuple[Tensor, ...]
    parameters: dict[str, Tensor]
    options: dict[str, Any]

    @property
    def leaves(self) -> list[Tensor]:
        fresh = self.fresh if "resets" in self.options else ()
        return [self.x, *self.states, *fresh, *self.parameters.values()]

    def run(self, run: Callable[..., Any] = recurrence, **more: Any) -> tuple[Tensor, ...]:
        options = self.options | ({"reset_to": self.fresh} if "resets" in self.options else {})
        y, final = run(self.of, self.x, self.states, self.parameters, **options, **more)
        return (y, *final)


def case(of: Cell, steps: int, batch: int, hidden: int = H, **options: Any) -> Case:
    source = torch.Generator().manual_seed(0)
    sizes = of.resolve_sizes(D, hidden)

    def uniform(*shape: int) -> Tensor:
        drawn = torch.rand([int(n) for n in shape], generator=source, dtype=torch.float64)
        return (2 * drawn - 1).requires_grad_()

    states, fresh = (tuple(uniform(batch, n) for n in of.state_sizes(sizes)) for _ in range(2))
    parameters = {n: uniform(*s) for n, s in of.parameter_shapes(sizes).items()}
    return Case(of, uniform(steps, batch, D), states, fresh, parameters, options)


def derivatives(c: Case, results: Sequence[Tensor], order: int = 2) -> list[Tensor]:
    """The results, the gradients of random sums of them, and those of the gradients' squares."""
    source = torch.Generator().manual_seed(1)
    weights = [torch.rand(r.shape, generator=source).double() - 0.5 for r in results]
    total = sum((r * w).sum() for r, w in zip(results, weights, strict=True))
    found = list(results)
    for k in range(order):
        assert isinstance(total, Tensor)
        grads = torch.autograd.grad(
            total, c.leaves, create_graph=k + 1 < order, allow_unused=True, materialize_grads=True
        )
        found += grads
        total = sum(g.square().sum() for g in grads)
    return [t.detach() for t in found]


def assert_same(c: Case, found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """Within rounding: a sum over T·B rows, of terms each rounded up to 3 T + 2 log2 T + 40 times.

    Second derivatives are such sums of such sums; no term is larger than the largest of them all.
    """
    steps, batch = c.x.shape[:2]
    largest = max(1.0, *(float(t.detach().abs().max()) for t in expected if t.numel()))
    roundings = 3 * steps + 2 * ceil(log2(steps * batch + 1)) + 40
    bound = 2 * steps * batch * roundings * 2.0**-53 * largest
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=0, atol=bound)
