"""Areas and rank correlations are those of their definitions, ties included."""

import pytest
import torch
from torch import Tensor

from unrolled.inspect.ranking import auc, ranks, scores, spearman

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
