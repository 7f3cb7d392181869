"""The bootstrap of grouped rows against the plain one, and against what theory says."""

from collections import Counter
from math import sqrt

import numpy as np
import pytest
from numpy.typing import NDArray

from unrolled.tasks.bootstrap import Statistics, grouped, interval


def plain(statistics: Statistics, rounds: int, seed: int) -> Statistics:
    """The sums of each round: examples drawn one by one, with replacement."""
    draw = np.random.default_rng(seed)
    n = len(statistics)
    return np.array([statistics[draw.integers(0, n, n)].sum(0) for _ in range(rounds)])


def ratio(sums: Statistics) -> Statistics:
    return sums[..., 0] / sums[..., 1]


def counts(n: int, seed: int = 0) -> Statistics:
    """Rows of a few small numbers, so that many are equal."""
    draw = np.random.default_rng(seed)
    length = draw.integers(1, 4, n)
    return np.stack([draw.binomial(length, 0.3), length], 1).astype(np.float64)


def test_rows_are_grouped():
    rows = counts(500)
    different, times = grouped(rows)
    found = {tuple(row): n for row, n in zip(different.tolist(), times.tolist(), strict=True)}
    assert found == Counter(map(tuple, rows.tolist()))
    # Of what is not contiguous too, and of a single row.
    assert grouped(rows[::2])[1].sum() == 250
    assert grouped(rows[:1])[1].tolist() == [1]


def test_sums_are_distributed_as_those_of_the_plain_draw():
    rows, rounds = counts(200), 20_000
    sums: list[Statistics] = []

    def seen(found: Statistics) -> Statistics:
        sums.append(found)
        return ratio(found)

    interval(rows, seen, rounds=rounds)
    ours, other = np.concatenate(sums), plain(rows, rounds, 1)
    assert ours.shape == other.shape == (rounds, 2)
    # Of n draws with replacement the sums have n times the rows' mean and covariance.
    mean, covariance = rows.sum(0), len(rows) * np.cov(rows.T, bias=True)
    for found in (ours, other):
        # Five standard errors: of a mean sqrt(v / rounds), of a variance about v sqrt(2 / rounds).
        assert np.all(abs(found.mean(0) - mean) < 5 * np.sqrt(np.diag(covariance) / rounds))
        scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
        assert np.all(abs(np.cov(found.T) - covariance) < 5 * scale * sqrt(2 / rounds))
    # Kolmogorov and Smirnov: two samples of one distribution are nearer than this but for one time
    # in a million, sqrt(ln(2e6) / 2) * sqrt(2 / rounds).
    assert distance(ratio(ours), ratio(other)) < sqrt(np.log(2e6) / rounds)


def distance(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The largest difference between two empirical distributions."""
    at = np.concatenate([one, other])
    below = [np.searchsorted(np.sort(x), at, side="right") / len(x) for x in (one, other)]
    return float(abs(below[0] - below[1]).max())


def test_rows_that_all_differ_are_drawn_one_by_one():
    rows = np.random.default_rng(0).normal([1, 5], size=(300, 2))
    different, times = grouped(rows)
    assert (len(different), times.tolist()) == (300, [1] * 300)
    low, high = interval(rows, ratio)
    expected = np.quantile(ratio(plain(rows, 1000, 1)), (0.025, 0.975))
    # The ends of two samples of 1,000: a few standard errors of an extreme quantile.
    width = expected[1] - expected[0]
    assert abs(low - expected[0]) < 0.1 * width
    assert abs(high - expected[1]) < 0.1 * width


@pytest.mark.parametrize("n", [1, 7, 1000])
def test_a_share_has_the_interval_of_the_binomial(n: int):
    right = np.zeros((n, 2))
    right[:, 1] = 1
    right[: n // 3, 0] = 1
    low, high = interval(right, ratio, rounds=4000)
    p = (n // 3) / n
    # The exact quantiles of binomial(n, p) / n, up to one or two of its steps.
    steps = np.quantile(np.random.default_rng(5).binomial(n, p, 200_000) / n, (0.025, 0.975))
    assert abs(low - steps[0]) <= 2 / n
    assert abs(high - steps[1]) <= 2 / n


def test_half_a_million_examples_take_no_more_than_their_different_rows():
    draws = 0

    def seen(sums: Statistics) -> Statistics:
        nonlocal draws
        draws += 1
        return ratio(sums)

    rows = counts(500_000)
    low, high = interval(rows, seen)
    # All rounds at once: there are but nine different rows.
    assert draws == 1
    assert low < ratio(rows.sum(0)) < high
    assert high - low < 0.01
