"""Verdicts on curves whose rates are known."""

import math

import pytest
import torch
from torch import Tensor

from unrolled.inspect.decay import Decay, decay


def geometric(rho: float, n: int = 100) -> Tensor:
    return 3 * rho ** torch.arange(n, dtype=torch.float64)


@pytest.mark.parametrize(
    ("rho", "verdict"),
    [(0.5, "vanishing"), (0.9, "vanishing"), (0.95, "healthy"), (1.0, "healthy"),
     (1.02, "healthy"), (1.1, "exploding"), (2.0, "exploding")],
)  # fmt: skip
@pytest.mark.parametrize("n", [10, 100, 101, 1000])
def test_the_rate_of_a_geometric_curve_is_found(rho: float, verdict: str, n: int) -> None:
    found = decay(geometric(rho, n), 1e-300)
    # Logarithms of magnitude up to 700, differences over one step and more.
    assert found.rate == pytest.approx(rho, rel=700 * 4 * torch.finfo(torch.float64).eps)
    grows = rho == 1.02 and n == 1000  # 1.02 to the 999th is 4e8
    assert found.verdict == ("exploding" if grows else verdict)
    expected = math.ceil(math.log(0.01) / math.log(rho)) if rho < 1 else None
    assert found.horizon == (expected if expected is not None and expected < n else None)


def test_what_is_forgotten_fast_beside_what_fades_slowly_is_healthy() -> None:
    curve = geometric(0.6) + 0.01 * geometric(0.98)
    found = decay(curve)
    # 0.6^k + 0.01 · 0.98^k is 0.01163 at 11 and 0.01003 at 12, and 1 % of the beginning is 0.0101.
    assert (found.verdict, found.horizon) == ("healthy", 12)
    assert found.rate == pytest.approx(0.98, abs=1e-6)


def test_a_rest_too_small_to_be_seen_has_vanished() -> None:
    found = decay(geometric(0.5) + 1e-9 * geometric(0.99))
    assert found.verdict == "vanishing"
    assert found.reason.endswith("less than float32 tells from nothing")


def test_a_burst_is_exploding_though_it_ends() -> None:
    curve = torch.cat([geometric(2.0, 10), 3 * 512 * geometric(0.93, 40) / 3])
    assert decay(curve).verdict == "exploding"


def test_one_outlier_does_not_move_the_rate() -> None:
    curve = geometric(0.97)
    curve[80] *= 1e6
    assert decay(curve).rate == pytest.approx(0.97, abs=1e-4)


def test_numbers_beyond_the_dtype_explode_and_zeros_vanish() -> None:
    assert decay(torch.tensor([1.0, 1e20, math.inf, math.inf])) == Decay(
        "exploding", math.inf, (0, 2), None, 3, math.inf,
        "from distance 2 on the gradient is larger than any number of its dtype",
    )  # fmt: skip
    assert decay(torch.tensor([1.0, 0.0, 0.0, 0.0])) == Decay(
        "vanishing", 0.0, (0, 1), 1, 3, 0.0,
        "nothing that can be told from zero is left at distance 1",
    )  # fmt: skip


@pytest.mark.parametrize(("n", "words"), [(0, "no"), (1, "1"), (3, "3")])
def test_too_few_steps_are_no_ground_for_a_verdict(n: int, words: str) -> None:
    found = decay(geometric(0.5, n))
    assert found.verdict == "unknown"
    assert found.reason == f"the loss hangs on {words} of its steps: a rate takes 4 or more"


REASONS = {
    0.9: "the gradient falls by 10.0 % a step (fitted from distance 50 to 99), so 1 % of the "
    "slowest part is left after 44 steps; 1 % remains at distance 44; 0.00295 % is left at "
    "distance 99",
    1.0: "the gradient stays as it is, within 0.05 % a step (fitted from distance 50 to 99); more "
    "than 1 % remains beyond 99 steps; 100 % is left at distance 99",
    1.1: "the gradient grows by 10.0 % a step (fitted from distance 50 to 99); up to 12,500 "
    "times what it is at distance 0; more than 1 % remains beyond 99 steps; 1,250,000 % is left at "
    "distance 99",
}


def test_small_numbers_have_a_minus_sign_and_large_ones_three_digits() -> None:
    assert "; 8.47e−18 % is left at distance 70" in decay(geometric(0.534, 71)).reason
    assert "the gradient grows by 234 % a step" in decay(geometric(3.341)).reason


@pytest.mark.parametrize("rho", REASONS)
def test_the_reason_says_what_was_measured(rho: float) -> None:
    assert decay(geometric(rho)).reason == REASONS[rho]


def spread(rate: float, count: int, width: float) -> Tensor:
    """Curves ``[100, B]`` whose logarithms have slopes evenly around log(rate)."""
    slopes = math.log(rate) + width * torch.linspace(-1, 1, count, dtype=torch.float64)
    return (torch.arange(100, dtype=torch.float64).unsqueeze(1) * slopes).exp()


def test_where_sequences_put_the_rate_on_both_sides_of_a_limit_it_is_unclear() -> None:
    each = spread(0.905, 4, 0.02)
    assert decay(each.mean(1)).verdict == "healthy"
    found = decay(each.mean(1), each=each)
    assert found.verdict == "unclear"
    assert found.between is not None
    assert found.between[0] < 0.912 < found.between[1]
    assert found.reason.startswith("between vanishing and healthy: the gradient falls by ")
    assert "in 90 % of draws of the 4 sequences" in found.reason
    alike = decay(each.mean(1), each=each.mean(1, keepdim=True).expand(-1, 4))
    assert alike.verdict == "healthy"
    assert alike.between == pytest.approx((alike.rate, alike.rate), rel=1e-3)


@pytest.mark.parametrize("rho", [0.8, 0.97, 1.2])
def test_far_from_a_limit_sequences_may_differ(rho: float) -> None:
    each = spread(rho, 8, 0.005)
    found, firm = decay(each.mean(1), each=each), decay(each.mean(1))
    assert found.verdict == firm.verdict != "unclear"
    assert found.between is not None
    assert found.between[0] <= found.rate <= found.between[1]


def test_the_bootstrap_is_the_textbook_one() -> None:
    """Its spread is that of the mean of logarithmic rates where curves differ by little."""
    draw = torch.Generator().manual_seed(0)
    count, width = 40, 1e-4
    slopes = math.log(0.97) + width * torch.randn(count, generator=draw, dtype=torch.float64)
    each = (torch.arange(20, dtype=torch.float64).unsqueeze(1) * slopes).exp()
    found = decay(each.mean(1), each=each)
    assert found.between is not None
    got = math.log(found.between[1] / found.between[0])
    want = 2 * 1.645 * float(slopes.std()) / count**0.5
    # The 5th and 95th percentile of 100 draws are each known within a standard error of
    # sqrt(0.05 · 0.95 / 100) / 0.103 = 0.21 deviations: together 0.3 of 3.29, and three times that.
    assert got == pytest.approx(want, rel=0.28)
