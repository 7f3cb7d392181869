"""Areas and rank correlations are those of their definitions, ties included."""

import pytest
import torch
from torch import Tensor

from unrolled.inspect.ranking import auc, chance, ranks, scores, spearman

N, UNITS = 41, 7
EPS = torch.finfo(torch.float64).eps


def some(ties: bool, seed: int) -> Tensor:
    torch.manual_seed(seed)
    return torch.randint(-3, 4, (N, UNITS)).float() if ties else torch.randn(N, UNITS)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_area_is_the_share_of_pairs_in_order(ties: bool, seed: int) -> None:
    values = some(ties, seed)
    mask = torch.rand(N) < 0.3
    got = auc(ranks(values), mask)
    for unit in range(UNITS):
        pairs = [
            (a > b) + 0.5 * (a == b)
            for a in values[mask, unit].tolist()
            for b in values[~mask, unit].tolist()
        ]
        # Ranks are halves of whole numbers: only the division rounds.
        assert got[unit] == pytest.approx(sum(pairs) / len(pairs), rel=2 * EPS)


@pytest.mark.parametrize("ties", [False, True])
def test_spearman_is_the_correlation_of_ranks(ties: bool) -> None:
    values, quantity = some(ties, 3), some(ties, 4)[:, 0]
    got = spearman(ranks(values), quantity)
    for unit in range(UNITS):
        both = [slow_ranks(values[:, unit].tolist()), slow_ranks(quantity.tolist())]
        expected = torch.corrcoef(torch.tensor(both, dtype=torch.float64))[0, 1]
        assert got[unit] == pytest.approx(float(expected), abs=4 * N * EPS)


def slow_ranks(numbers: list[float]) -> list[float]:
    return [
        sum(other < v for other in numbers) + (1 + sum(other == v for other in numbers)) / 2
        for v in numbers
    ]


def test_scores_do_not_depend_on_how_many_units_are_ranked_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values, targets = some(True, 5), {"mask": torch.rand(N) < 0.4, "quantity": torch.rand(N)}
    whole = scores(values, targets)
    monkeypatch.setattr("unrolled.inspect.ranking._AT_ONCE", 2 * N)
    told: list[float] = []
    parts = scores(values, targets, told.append)
    assert told == [2 / 7, 4 / 7, 6 / 7, 1]
    for name in targets:
        one, other = whole[name], parts[name]
        assert one is not None
        assert other is not None
        torch.testing.assert_close(one.scores, other.scores, rtol=4 * N * EPS, atol=4 * N * EPS)


def test_extremes() -> None:
    quantity = torch.arange(10)
    units = torch.stack([quantity, -quantity, torch.zeros(10)], 1).float()
    found = scores(
        units,
        {
            "mask": quantity >= 6,
            "quantity": quantity,
            "constant": torch.zeros(10),
            "always": torch.ones(10, dtype=torch.bool),
        },
    )
    by_mask, by_quantity = found["mask"], found["quantity"]
    assert by_mask is not None
    assert by_quantity is not None
    assert by_mask.scores.tolist() == [1, 0, 0.5]
    assert by_mask.strength.tolist() == [1, -1, 0]
    assert by_quantity.scores.tolist() == pytest.approx([1, -1, 0])
    assert found["constant"] is found["always"] is None
    assert scores(torch.zeros(0, 3), {"mask": torch.zeros(0)}) == {"mask": None}


@pytest.mark.parametrize("n", [2, 3, 40, 41])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("ties", [False, True])
def test_chance_is_the_share_of_shifts_that_score_as_well(n: int, sign: int, ties: bool) -> None:
    torch.manual_seed(n)
    unit = torch.randint(0, 4, (n,)).float() if ties else torch.randn(n)
    quantity = torch.randint(0, 3, (n,)).double() if ties else torch.randn(n).double()
    mask = torch.rand(n) < 0.4
    mask[:2] = torch.tensor([True, False])
    for target, score in ((mask, auc), (quantity, spearman)):
        ranked = ranks(unit.unsqueeze(1))
        each = [sign * float(score(ranked, target.roll(k))) for k in range(n)]
        plain = sum(s >= each[0] - 1e-12 for s in each) / n
        assert chance(unit, target, sign) == plain


def test_a_unit_that_is_the_property_is_as_good_at_its_periods_alone() -> None:
    unit = torch.arange(60) % 20
    assert chance(unit, unit, 1) == 3 / 60
    assert chance(-unit, unit, -1) == 3 / 60
    assert chance(-unit, unit == 0, 1) == 3 / 60
    assert chance(torch.zeros(60), unit, 1) == 1


def test_slow_units_and_slow_properties_pass_as_seldom_as_they_should() -> None:
    torch.manual_seed(0)
    drawn, n, level = 300, 400, 0.05
    # Each keeps 0.95 of itself: neighbours are alike, so that ranks correlate by chance.
    noise = torch.randn(n + 100, 2, drawn)
    for t in range(1, len(noise)):
        noise[t] += 0.95 * noise[t - 1]
    unit, target = noise[100:].unbind(1)
    passed = sum(chance(unit[:, k], target[:, k], 1) <= level for k in range(drawn))
    # The mean of a binomial, and four of its deviations.
    assert abs(passed - level * drawn) <= 4 * (level * (1 - level) * drawn) ** 0.5
    correlated = torch.stack([spearman(ranks(unit[:, k : k + 1]), target[:, k]) for k in range(50)])
    # Of independent samples, 1.645 / sqrt(n) would be passed by one in twenty.
    assert (correlated > 1.645 / n**0.5).double().mean() > 0.2
