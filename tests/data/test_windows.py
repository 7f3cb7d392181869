"""Windows: every token in its place, once an epoch, resumable."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.windows import Stream
from unrolled.errors import DataError


def ids(length: int) -> np.ndarray:
    return np.arange(length, dtype=np.uint16)


def test_rows_are_contiguous_streams_and_targets_follow_inputs():
    batches = list(Stream(ids(12), batch_size=2, window=3).batches())
    assert [x.T.tolist() for x, _ in batches] == [[[0, 1, 2], [5, 6, 7]], [[3, 4], [8, 9]]]
    assert [y.T.tolist() for _, y in batches] == [[[1, 2, 3], [6, 7, 8]], [[4, 5], [9, 10]]]
    assert all(t.dtype == torch.int64 and t.is_contiguous() for pair in batches for t in pair)


@given(st.integers(2, 200), st.integers(1, 7), st.integers(1, 20))
def test_each_token_is_predicted_once(length: int, batch_size: int, window: int):
    if (length - 1) // batch_size < window:
        with pytest.raises(DataError, match="longer than the corpus"):
            Stream(ids(length), batch_size, window)
        return
    stream = Stream(ids(length), batch_size, window)
    batches = list(stream.batches())
    assert len(batches) == len(stream)
    assert {tuple(x.shape) for x, _ in batches[:-1]} <= {(window, batch_size)}
    targets = sorted(torch.cat([y.flatten() for _, y in batches]).tolist())
    left_out = (length - 1) % batch_size
    assert targets == list(range(1, length - left_out))
    for x, y in batches:
        assert torch.equal(y, x + 1)
    for (before, _), (after, _) in pairwise(batches):
        assert torch.equal(after[0], before[-1] + 1)


def test_an_epoch_goes_on_from_any_window():
    stream = Stream(ids(100), 3, 4)
    whole = list(stream.batches())
    for start in range(len(stream) + 1):
        rest = list(stream.batches(start))
        assert len(rest) == len(whole) - start
        for (x, y), (x2, y2) in zip(whole[start:], rest, strict=True):
            assert torch.equal(x, x2)
            assert torch.equal(y, y2)


def test_a_window_longer_than_the_corpus_says_what_there_is():
    with pytest.raises(
        DataError, match=r"a window of 9 steps .* 10 tokens make 2 streams of 4 steps\. Lower"
    ):
        Stream(ids(10), 2, 9)


@pytest.mark.parametrize(("batch_size", "window"), [(0, 3), (3, 0), (-1, 3)])
def test_sizes_below_one_are_refused(batch_size: int, window: int):
    with pytest.raises(DataError, match="at least 1"):
        Stream(ids(10), batch_size, window)


@pytest.mark.parametrize("length", [0, 1])
def test_nothing_to_predict(length: int):
    with pytest.raises(DataError, match="longer than the corpus"):
        Stream(ids(length), 1, 1)
