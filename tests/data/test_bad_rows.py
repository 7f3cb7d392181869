"""Bad rows: each place once, up to the limit, and what is said of them."""

import pytest

from unrolled.data.bad_rows import BadRows, usable
from unrolled.data.row import Row
from unrolled.errors import DataError


def test_the_first_is_an_error_where_none_is_allowed():
    with pytest.raises(DataError) as caught:
        BadRows().add("data.csv", 1234, "the column 'a' is empty")
    assert str(caught.value) == (
        "data.csv, line 1,234: the column 'a' is empty. Mend it, or skip bad rows with --skip-bad N"
    )


def test_one_more_than_allowed_is_an_error_that_names_the_first():
    bad = BadRows(4)
    for line in (3, 1, 2, 4):
        bad.add("a", line, "no")
    with pytest.raises(DataError) as caught:
        bad.add("b", 1, "worse")
    assert str(caught.value) == (
        "5 rows can't be read and --skip-bad allows 4: a, line 3: no; a, line 1: no; "
        "a, line 2: no; and 2 more"
    )


def test_a_place_counts_once():
    bad = BadRows(1)
    for _ in range(3):
        bad.add("a", 1, "no")
    assert (bad.count, bad.lines()) == (1, ["a, line 1: no"])


def test_facts():
    bad = BadRows(10)
    assert bad.facts() == []
    bad.add("a", 1, "no")
    assert bad.facts() == ["skipped 1 bad row:", "  a, line 1: no"]
    for line in range(2, 6):
        bad.add("a", line, "no")
    assert bad.facts(2) == [
        "skipped 5 bad rows:",
        "  a, line 1: no",
        "  a, line 2: no",
        "  and 3 more",
    ]


def test_a_negative_limit_is_refused():
    with pytest.raises(DataError) as caught:
        BadRows(-1)
    assert str(caught.value) == "--skip-bad is at least 0, not -1"


def test_usable_rows():
    rows = [Row("a", i, {"x": x}) for i, x in enumerate(["1", "one", "3"], 1)]
    bad = BadRows(1)
    assert list(usable(rows, lambda row: row.number("x"), bad)) == [1, 3]
    assert bad.lines() == ["a, line 2: the column 'x' is 'one' where a number is expected"]
    with pytest.raises(DataError, match="a, line 2"):
        list(usable(rows, lambda row: row.number("x"), BadRows()))


def test_other_errors_are_no_bad_rows():
    with pytest.raises(KeyError):
        list(usable([Row("a", 1, {})], lambda row: row.values["x"], BadRows(5)))
