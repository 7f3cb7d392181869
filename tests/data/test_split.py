"""Held-out parts: sizes, seeds, shares of classes, whole groups."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.split import held_out
from unrolled.errors import DataError

FRACTION = st.floats(0.01, 0.99)


def parts(n: int, fraction: float, seed: int = 0, **options: Any) -> tuple[list[int], list[int]]:
    train, held = held_out(n, fraction, seed, **options)
    assert train.dtype == held.dtype == np.int64
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(n))
    assert train.tolist() == sorted(train.tolist())
    assert held.tolist() == sorted(held.tolist())
    return train.tolist(), held.tolist()


@given(st.integers(2, 300), FRACTION, st.integers(0, 9))
def test_plain(n: int, fraction: float, seed: int):
    _, held = parts(n, fraction, seed)
    assert len(held) == min(max(1, round(n * fraction)), n - 1)
    assert parts(n, fraction, seed)[1] == held


def test_another_seed_gives_another_part():
    assert len({tuple(parts(1000, 0.1, seed)[1]) for seed in range(5)}) == 5


def test_each_example_is_as_likely():
    times = Counter(i for seed in range(2000) for i in parts(10, 0.3, seed)[1])
    # Binomial with mean 600 and standard deviation 20.5; six of them.
    assert all(abs(times[i] - 600) < 123 for i in range(10))


@given(st.lists(st.sampled_from("aaaabbbccd"), min_size=2), FRACTION, st.integers(0, 9))
def test_stratified(labels: list[str], fraction: float, seed: int):
    counts = Counter(labels)
    if max(counts.values()) == 1:
        return
    train, held = parts(len(labels), fraction, seed, labels=labels)
    kept = Counter(labels[i] for i in train)
    assert kept.keys() == counts.keys()
    wanted = min(max(1, round(len(labels) * fraction)), len(labels) - 1)
    assert len(held) == min(wanted, len(labels) - len(counts))
    share = wanted / len(labels)
    for label, n in counts.items():
        # A class' share is rounded to one of its neighbours, and may take in what the classes of
        # one example could not give.
        assert n - kept[label] >= min(np.floor(n * share), n - 1)
    if min(counts.values()) * (1 - share) > 1:
        assert all(n - kept[c] <= np.ceil(n * share) for c, n in counts.items())


def test_stratified_draws_within_classes():
    labels = np.array([0, 1] * 50)
    assert parts(100, 0.1, 1, labels=labels) != parts(100, 0.1, 2, labels=labels)
    assert Counter(labels[parts(100, 0.1, 1, labels=labels)[1]].tolist()) == {0: 5, 1: 5}


@given(st.lists(st.integers(0, 8), min_size=2), FRACTION, st.integers(0, 9))
def test_grouped(groups: list[int], fraction: float, seed: int):
    if len(set(groups)) == 1:
        return
    train, held = parts(len(groups), fraction, seed, groups=groups)
    assert train
    assert held
    assert not {groups[i] for i in train} & {groups[i] for i in held}
    wanted = min(max(1, round(len(groups) * fraction)), len(groups) - 1)
    assert len(held) <= max(wanted, min(Counter(groups).values()))


def test_many_small_groups_come_near_the_fraction():
    groups = [f"word {i // 2}" for i in range(1000)]
    assert len(parts(1000, 0.1, groups=groups)[1]) == 100


def test_nothing_held_out():
    assert parts(3, 0) == ([0, 1, 2], [])


@pytest.mark.parametrize(
    ("n", "fraction", "options", "problem"),
    [
        (9, 1.0, {}, "the held-out fraction is at least 0 and less than 1, not 1.0"),
        (9, -0.1, {}, "the held-out fraction is at least 0 and less than 1, not -0.1"),
        (
            1,
            0.1,
            {},
            "can't hold out 10% of 1 example: give more, or a file of its own to judge by",
        ),
        (
            0,
            0.1,
            {},
            "can't hold out 10% of 0 examples: give more, or a file of its own to judge by",
        ),
        (
            3,
            0.1,
            {"labels": [1, 2, 3]},
            "each class has one example alone: there is none to hold out, give more of each",
        ),
        (
            3,
            0.1,
            {"groups": [1, 1, 1]},
            "all examples belong to one group: there is none to hold out, give more groups",
        ),
    ],
)
def test_refused(n: int, fraction: float, options: dict[str, Any], problem: str):
    with pytest.raises(DataError) as caught:
        held_out(n, fraction, 0, **options)
    assert str(caught.value) == problem


def test_wrong_calls():
    with pytest.raises(ValueError, match="not both"):
        held_out(2, 0.5, 0, labels=[1, 1], groups=[1, 2])
    with pytest.raises(ValueError, match="2 examples and 1 labels or groups"):
        held_out(2, 0.5, 0, labels=[1])
