"""The best allowed sequence of tags, beside all sequences one by one."""

import itertools

import pytest
import torch

from unrolled.models.viterbi import allowed, best_paths, is_bio

TAGS = ("B-X", "B-Y", "I-X", "I-Y", "O")


def is_allowed(path: tuple[int, ...]) -> bool:
    """BIO by its definition: I-type stands behind B-type or I-type alone."""
    words = ["O", *(TAGS[i] for i in path)]
    return all(
        not tag.startswith("I-") or before in (f"B-{tag[2:]}", f"I-{tag[2:]}")
        for before, tag in itertools.pairwise(words)
    )


def enumerated(scores: torch.Tensor) -> tuple[int, ...]:
    """The allowed path with the largest sum, for scores ``[T, K]``."""
    paths = filter(is_allowed, itertools.product(range(len(TAGS)), repeat=len(scores)))
    return max(paths, key=lambda path: sum(float(scores[t, k]) for t, k in enumerate(path)))


@pytest.mark.parametrize("seed", range(6))
def test_it_is_the_best_of_all_that_are_allowed(seed: int):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(5, 4, len(TAGS), generator=draw)
    # Scores that like I-type where it may not stand.
    scores[:, :, 2:4] += 1.5
    lengths = torch.tensor([5, 1, 4, 2])
    paths = best_paths(scores, lengths, *allowed(TAGS))
    for i, n in enumerate(lengths.tolist()):
        assert tuple(paths[:n, i].tolist()) == enumerated(scores[:n, i])
        assert not paths[n:, i].any()


def test_where_the_likeliest_tags_are_allowed_they_are_taken():
    scores = torch.full((3, 1, 5), -9.0)
    scores[[0, 1, 2], 0, [0, 2, 4]] = 0.0
    assert best_paths(scores, torch.tensor([3]), *allowed(TAGS))[:, 0].tolist() == [0, 2, 4]


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        (("B-NP", "I-NP", "O"), True),
        (("B-NP", "O"), True),
        (("I-NP", "O"), False),
        (("NN", "O"), False),
        (("B-NP", "E-NP", "O"), False),
        (("B", "I", "O"), False),
    ],
)
def test_which_tags_mark_chunks(tags: tuple[str, ...], expected: bool):
    assert is_bio(tags) is expected
