"""Attention against the plain loop over queries and places; its mask; its errors."""

import math

import pytest
import torch

from unrolled.errors import ModelError
from unrolled.models.attention import Attention


@pytest.mark.parametrize("score", ["general", "dot"])
@torch.no_grad()
def test_it_is_the_mean_by_the_softmax_of_the_scores(score: str):
    torch.manual_seed(0)
    k, q = 5, 5 if score == "dot" else 3
    attention = Attention(q, k, score).double()  # pyright: ignore[reportArgumentType]
    queries, memory = torch.randn(4, 2, q).double(), torch.randn(6, 2, k).double()
    lengths = [6, 4]
    contexts, weights = attention(queries, memory, torch.tensor(lengths))
    for t in range(4):
        for b, n in enumerate(lengths):
            scores = torch.zeros(n).double()
            for s in range(n):
                key = memory[s, b]
                if attention.weight is not None:
                    key = attention.weight @ key
                scores[s] = sum(float(x * y) for x, y in zip(queries[t, b], key, strict=True))
            expected = torch.exp(scores / math.sqrt(k))
            expected /= expected.sum()
            torch.testing.assert_close(weights[t, b, :n], expected)
            assert (weights[t, b, n:] == 0).all()
            mean = sum(expected[s] * memory[s, b] for s in range(n))
            torch.testing.assert_close(contexts[t, b], mean)


def test_what_stands_behind_the_lengths_is_not_read():
    torch.manual_seed(0)
    attention = Attention(3, 4)
    queries, memory, lengths = torch.randn(2, 3, 3), torch.randn(5, 3, 4), torch.tensor([1, 5, 2])
    expected = attention(queries, memory, lengths)[0]
    memory[1:, 0] = 1e30
    memory[2:, 2] = -1e30
    assert torch.equal(attention(queries, memory, lengths)[0], expected)


def test_without_lengths_all_is_read():
    torch.manual_seed(0)
    attention = Attention(3, 4)
    queries, memory = torch.randn(2, 3, 3), torch.randn(5, 3, 4)
    whole = attention(queries, memory, torch.full((3,), 5))
    torch.testing.assert_close(attention(queries, memory), whole)


def test_dot_needs_equal_lengths():
    with pytest.raises(ModelError) as caught:
        Attention(6, 12, "dot")
    assert str(caught.value) == (
        "dot attention needs outputs of encoder and decoder that are equally long, not 12 and 6: "
        "take general attention, or set bidirectional to false"
    )
