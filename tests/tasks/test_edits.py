"""The edit distance against its definition and against rapidfuzz's."""

from functools import cache

from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from unrolled.tasks.edits import closest, distance

SEQUENCE = st.lists(st.integers(0, 3), max_size=12).map(tuple)


def defined(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    @cache
    def d(i: int, j: int) -> int:
        if i == 0 or j == 0:
            return i + j
        return min(
            d(i - 1, j) + 1, d(i, j - 1) + 1, d(i - 1, j - 1) + (left[i - 1] != right[j - 1])
        )

    return d(len(left), len(right))


@given(SEQUENCE, SEQUENCE)
def test_it_is_the_fewest_edits(left: tuple[int, ...], right: tuple[int, ...]):
    assert distance(left, right) == defined(left, right)
    assert distance(left, right) == Levenshtein.distance(left, right)


def test_the_nearest_reference_counts_and_of_equals_the_first():
    assert closest((1, 2, 3), [(1,), (1, 2, 4, 4), (2, 3), (1, 2)]) == (1, 2)
    assert closest((1, 2), [(3,), (1, 2)]) == (0, 2)
    assert closest((), [(1, 2, 3), (1, 2)]) == (2, 2)
    assert closest((5,), [(1, 2), (3,)]) == (1, 1)
    assert closest((1, 2, 3), [(1, 2), (1, 2, 3, 4)]) == (1, 2)
