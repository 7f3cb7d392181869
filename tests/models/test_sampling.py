"""Drawing a token: temperature, top-k, top-p, by hand-computed distributions."""

import math

import pytest
import torch

from unrolled.errors import ModelError, UserError
from unrolled.models.sampling import Sampling

# Logarithms of probabilities, so that the distribution at temperature 1 is known.
P = torch.tensor([0.1, 0.4, 0.2, 0.3])


def probabilities(temperature: float = 1.0, top_k: int | None = None, top_p: float = 1.0):
    return Sampling(temperature, top_k, top_p).probabilities(P.log())


def near(found: torch.Tensor, *expected: float) -> bool:
    return torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=1e-6)


def test_temperature():
    assert near(probabilities(), 0.1, 0.4, 0.2, 0.3)
    squares = P.double() ** 2
    assert near(probabilities(0.5), *(squares / squares.sum()).tolist())
    assert near(probabilities(0), 0, 1, 0, 0)
    assert near(probabilities(1e-300), 0, 1, 0, 0)
    assert near(probabilities(1e9), 0.25, 0.25, 0.25, 0.25)


def test_top_k():
    assert near(probabilities(top_k=1), 0, 1, 0, 0)
    assert near(probabilities(top_k=2), 0, 4 / 7, 0, 3 / 7)
    assert near(probabilities(top_k=99), 0.1, 0.4, 0.2, 0.3)
    even = Sampling(top_k=2).probabilities(torch.zeros(4))
    assert int((even > 0).sum()) == 2


def test_top_p_keeps_the_token_that_reaches_it():
    assert near(probabilities(top_p=0.3), 0, 1, 0, 0)
    assert near(probabilities(top_p=0.45), 0, 4 / 7, 0, 3 / 7)
    assert near(probabilities(top_p=0.75), 0, 4 / 9, 2 / 9, 3 / 9)
    assert near(probabilities(top_p=1e-9), 0, 1, 0, 0)


def test_top_p_is_of_what_top_k_left():
    assert near(probabilities(top_k=2, top_p=0.5), 0, 1, 0, 0)
    assert near(probabilities(top_k=2, top_p=0.6), 0, 4 / 7, 0, 3 / 7)


def test_top_p_is_of_the_distribution_at_the_temperature():
    assert near(probabilities(1e9, top_p=0.5)[[1, 3]], 0.5, 0.5)


def test_what_cannot_be_drawn_is_not():
    logits = torch.tensor([0.0, -math.inf, 0.0])
    assert near(Sampling().probabilities(logits), 0.5, 0, 0.5)
    assert near(Sampling(top_k=3, top_p=0.99).probabilities(logits), 0.5, 0, 0.5)


def test_draws_follow_the_distribution():
    generator = torch.Generator().manual_seed(0)
    draws = [Sampling().draw(P.log(), generator) for _ in range(4000)]
    found = torch.bincount(torch.tensor(draws), minlength=4) / 4000
    # Four standard deviations of a frequency are 4 sqrt(p (1 - p) / n) < 0.032.
    assert (found - P).abs().max() < 0.032


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"temperature": -0.1}, r"the temperature is at least 0, not -0\.1"),
        ({"temperature": math.nan}, "the temperature is at least 0, not nan"),
        ({"temperature": math.inf}, "the temperature is at least 0, not inf"),
        ({"top_k": 0}, "top-k is at least 1, not 0"),
        ({"top_p": 0.0}, r"top-p is more than 0 and at most 1, not 0\.0"),
        ({"top_p": 1.5}, r"top-p is more than 0 and at most 1, not 1\.5"),
        ({"top_p": math.nan}, "top-p is more than 0 and at most 1, not nan"),
    ],
)
def test_values_out_of_range(options: dict[str, float], problem: str):
    with pytest.raises(UserError, match=problem):
        Sampling(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_model_that_diverged_says_so(value: float, temperature: float):
    with pytest.raises(ModelError, match="the model's output is not finite"):
        Sampling(temperature).probabilities(torch.tensor([0.0, value]))
