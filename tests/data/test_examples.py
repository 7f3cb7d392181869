"""Batches of like length: each example once an epoch, and not beside the same ones in the next."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.examples import Bucketed, Examples
from unrolled.data.ragged import Ragged
from unrolled.errors import DataError


def examples(lengths: list[int]) -> Examples:
    return Examples.of({"x": Ragged.of([np.zeros(n) for n in lengths])})


def pairs(batches: Bucketed, epoch: int) -> set[tuple[int, int]]:
    """Which examples meet in a batch."""
    return {
        pair for places in batches.order(epoch) for pair in combinations(sorted(places.tolist()), 2)
    }


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=70),
    size=st.integers(1, 9),
    seed=st.none() | st.integers(0, 5),
)
def test_every_example_is_in_one_batch_of_each_epoch(
    lengths: list[int], size: int, seed: int | None
):
    batches = Bucketed(examples(lengths), size, "x", seed)
    for epoch in range(2):
        order = batches.order(epoch)
        assert sorted(np.concatenate(order).tolist()) == list(range(len(lengths)))
        assert len(order) == len(batches)
        assert sorted(map(len, order))[1:] == [size] * (len(order) - 1)
        again = batches.order(epoch)
        assert all(map(np.array_equal, order, again))


# All lengths differ, or are of few kinds; far fewer than a pool's batches, and several pools.
@pytest.mark.parametrize("lengths", [range(20, 820), [5 + i % 26 for i in range(800)], range(4000)])
def test_examples_meet_others_in_the_next_epoch(lengths: list[int] | range):
    batches = Bucketed(examples(list(lengths)), 16, "x", 0)
    epochs = [pairs(batches, epoch) for epoch in range(3)]
    for before, after in pairwise(epochs):
        # Two meet again where they are in one pool, one time in four, and near each other there.
        assert len(before & after) / len(before) < 0.25
    # Little is padded all the same: a pool has at least twelve batches.
    order = batches.order()
    taken = sum(max(lengths[i] for i in places) * len(places) for places in order)
    assert taken < 1.15 * sum(lengths)


def test_without_a_seed_the_order_is_the_examples_own_and_least_is_padded():
    batches = Bucketed(examples([3, 1, 2, 1, 5, 4]), 2, "x", None)
    assert [places.tolist() for places in batches.order(0)] == [[1, 3], [2, 0], [5, 4]]
    assert [places.tolist() for places in batches.order(7)] == [[1, 3], [2, 0], [5, 4]]


def test_what_can_not_be_batched():
    with pytest.raises(DataError, match="batch size is at least 1, not 0"):
        Bucketed(examples([1]), 0, "x", 0)
    with pytest.raises(DataError, match="there are no examples to batch"):
        Bucketed(examples([1]).part(np.zeros(0, np.int64)), 1, "x", 0)
