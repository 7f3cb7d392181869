"""Confusion matrices against scikit-learn and a count by hand."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from unrolled.errors import DataError
from unrolled.tasks import text_plots
from unrolled.tasks.confusion import Confusion

K = 7
LABELS = tuple("abcdefg")


@pytest.fixture
def drawn() -> tuple[np.ndarray, np.ndarray, Confusion]:
    draw = np.random.default_rng(3)
    true = draw.integers(0, K - 1, 300)  # the last class has no example
    said = np.where(draw.random(300) < 0.6, true, draw.integers(1, K, 300))
    return true, said, Confusion(LABELS, confusion_matrix(true, said, labels=range(K)))


def test_figures_by_class_are_those_of_scikit_learn(
    drawn: tuple[np.ndarray, np.ndarray, Confusion],
):
    true, said, confusion = drawn
    expected = precision_recall_fscore_support(true, said, labels=range(K), zero_division=np.nan)  # pyright: ignore
    found = (confusion.precision(), confusion.recall(), confusion.f1(), confusion.support)
    for ours, theirs in zip(found, expected, strict=True):
        # Two divisions of whole numbers on each side, and theirs of two quotients for F1.
        np.testing.assert_allclose(ours, np.asarray(theirs), rtol=8 * np.finfo(np.float64).eps)


def test_the_interval_is_wilsons(drawn: tuple[np.ndarray, np.ndarray, Confusion]):
    _, _, confusion = drawn
    low, high = confusion.recall_interval()
    for i in range(K - 1):
        n = int(confusion.support[i])
        test = binomtest(int(confusion.counts[i, i]), n).proportion_ci(0.95, "wilson")
        assert (low[i], high[i]) == pytest.approx((test.low, test.high), rel=1e-12)
    assert np.isnan([low[-1], high[-1]]).all()


def test_pairs_are_the_most_frequent_mistakes():
    counts = np.array([[9, 2, 0], [5, 1, 0], [0, 2, 4]])
    confusion = Confusion(("a", "b", "c"), counts)
    assert confusion.pairs(10) == [("b", "a", 5), ("a", "b", 2), ("c", "b", 2)]
    assert confusion.pairs(1) == [("b", "a", 5)]
    assert Confusion.from_details(confusion.to_details()).pairs(2) == confusion.pairs(2)


def test_the_rarest_classes_become_one():
    counts = np.array([[1, 1, 0, 0], [0, 5, 1, 1], [0, 0, 1, 0], [2, 2, 0, 9]])
    few = Confusion(("a", "b", "c", "d"), counts).largest(3, "rest")
    assert few.labels == ("b", "d", "rest")
    assert few.counts.tolist() == [[5, 1, 1], [2, 9, 2], [1, 0, 2]]
    assert few.largest(3, "x") is few


def test_a_matrix_of_another_size_is_refused():
    with pytest.raises(DataError) as caught:
        Confusion(("a", "b"), np.zeros((2, 3), np.int64))
    assert str(caught.value) == (
        "a confusion matrix of 2 classes has 2 × 2 counts of at least 0, not 2 × 3"
    )


def test_tables_for_the_terminal():
    confusion = Confusion(("a", "bb", "c"), np.array([[9, 2, 0], [1000, 1001, 0], [0, 0, 0]]))
    assert (
        text_plots.by_class(confusion)
        == """\
class  precision  recall     F1  examples
bb         0.998   0.500  0.666     2,001
a          0.009   0.818  0.018        11
c              —       —      —         0"""
    )
    assert (
        text_plots.most_confused(confusion)
        == """\
class  taken for  times  of the class
bb     a          1,000        50.0 %
a      bb             2        18.2 %"""
    )
    assert text_plots.most_confused(Confusion(("a",), np.array([[3]]))) == "no mistake"


def test_a_class_that_is_said_and_never_there_has_no_recall():
    confusion = Confusion(("a", "bb", "c"), np.array([[3, 1, 0], [0, 0, 0], [1, 0, 5]]))
    assert (
        text_plots.by_class(confusion)
        == """\
class  precision  recall     F1  examples
c          1.000   0.833  0.909         6
a          0.750   0.750  0.750         4
bb         0.000       —  0.000         0"""
    )


def test_a_class_that_is_a_number_stays_a_word():
    confusion = Confusion(("1", "22"), np.array([[1, 2], [0, 3]]))
    assert text_plots.most_confused(confusion).splitlines()[1].startswith("1      22 ")
