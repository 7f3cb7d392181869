"""The scan against a loop over time, within what rounding allows, with signs, resets and NaN."""

from __future__ import annotations

from math import ceil, log2

import pytest
import torch
from torch import Tensor

from unrolled.backends.scan import SHORT, scan

LENGTHS = (*range(1, 40), 64, 100, 127, 1000, 5000)
DTYPES = {torch.float64: 2.0**-53, torch.float32: 2.0**-24}


def loop(a: Tensor, b: Tensor, first: Tensor) -> Tensor:
    states = [first]
    for t in range(len(a)):
        states.append(a[t] * states[-1] + b[t])
    return torch.stack(states[1:])


def bound(a: Tensor, b: Tensor, first: Tensor, unit: float) -> Tensor:
    """How far the scan and the loop together may be from the exact states.

    A state is a sum of terms, each an initial state or shift times the factors after it.  In the
    scan a term is rounded in as many products as it has factors, and one more, and in two sums at
    each level of halving and in those of the last walk; in the loop in a product and a sum a step.
    So the bound is u times Σ |term| (3 factors + levels), which goes through the steps as
    ``counted``, beside ``total`` = Σ |term|.  0.1% is for terms of second order.
    """
    levels = 2 * ceil(log2(len(a) + 1)) + SHORT + 2
    total, counted = first.abs().double(), torch.zeros_like(first, dtype=torch.float64)
    found: list[Tensor] = []
    for t in range(len(a)):
        factor = a[t].abs().double()
        counted = factor * (counted + 3 * total)
        total = factor * total + b[t].abs().double()
        found.append(1.001 * unit * (counted + levels * total))
    return torch.stack(found)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", ["signs", "gates", "ones", "zeros"])
@pytest.mark.parametrize("steps", LENGTHS)
def test_is_the_loop(steps: int, kind: str, dtype: torch.dtype) -> None:
    source = torch.Generator().manual_seed(steps)

    def uniform(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=source, dtype=torch.float64).to(dtype) - 1

    a, b, first = uniform(steps, 3, 5), uniform(steps, 3, 5), uniform(3, 5)
    match kind:
        case "gates":
            a = torch.sigmoid(4 + a)
        case "ones":
            a = torch.ones_like(a)
        case "zeros":
            a = torch.where(a > 0.5, 0, a)
        case _:
            pass
    exact = [t.double() for t in (a, b, first)]
    found = scan(a, b, first)
    assert found.dtype == dtype
    off = (found.double() - loop(*exact)).abs()
    assert (off <= bound(a, b, first, DTYPES[dtype])).all()


def test_products_that_fade_are_zero() -> None:
    """In single precision 0.01^40 is zero; what is left is what the loop has."""
    a, b = torch.full((1000, 2), 0.01), torch.zeros(1000, 2)
    b[500] = 1
    found = scan(a, b, torch.ones(2))
    assert found.isfinite().all()
    assert torch.equal(found[500], torch.ones(2))
    torch.testing.assert_close(found[501], torch.full((2,), 0.01), rtol=2**-22, atol=0)
    assert not found[600:].any()


@pytest.mark.parametrize("steps", [1, 5, 8, 9, 17, 50])
def test_nothing_passes_a_new_beginning(steps: int) -> None:
    """Not even what is no number, from wherever it comes."""
    source = torch.Generator().manual_seed(steps)
    a, b = (torch.rand(steps, 4, generator=source, dtype=torch.float64) for _ in range(2))
    new = torch.rand(steps, 4, generator=source) < 0.3
    new[0, 0] = True
    a = a.masked_fill(new, 0)
    expected = scan(a, b, torch.ones(4).double(), new)
    torch.testing.assert_close(expected, loop(a, b, torch.ones(4).double()), rtol=1e-13, atol=0)
    for t in range(steps):
        spoilt = b.clone()
        spoilt[t] = torch.nan
        found = scan(a, spoilt, torch.ones(4).double(), new)
        reached = torch.zeros(steps, 4, dtype=torch.bool)
        for later in range(t, steps):
            reached[later] = (later == t) | (reached[later - 1] & ~new[later])
        assert torch.equal(found.isnan(), reached)
        assert torch.equal(found[~reached], expected[~reached])
        factors = a.clone()
        factors[t] = torch.where(new[t], 0, torch.nan)
        found = scan(factors, b, torch.ones(4).double(), new)
        reached &= ~new[t]
        assert torch.equal(found.isnan(), reached)
        assert torch.equal(found[~reached], expected[~reached])
    nowhere = scan(a, b, torch.full((4,), torch.inf).double(), new)
    assert torch.equal(nowhere[:, 0], expected[:, 0])


def test_derivatives_of_the_first_and_second_order() -> None:
    source = torch.Generator().manual_seed(0)
    a, b = (
        torch.rand(19, 2, generator=source, dtype=torch.float64).requires_grad_() for _ in range(2)
    )
    first = torch.rand(2, generator=source, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(scan, (a, b, first))
    assert torch.autograd.gradgradcheck(scan, (a, b, first))
