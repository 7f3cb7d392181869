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
    1.1: "the gradient grows by 10.0 % a step (fitted from distance 50 to 99); up to 1.25e+04 "
    "times what it is at distance 0; more than 1 % remains beyond 99 steps; 1.25e+06 % is left at "
    "distance 99",
}


@pytest.mark.parametrize("rho", REASONS)
def test_the_reason_says_what_was_measured(rho: float) -> None:
    assert decay(geometric(rho)).reason == REASONS[rho]
