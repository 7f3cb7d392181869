"""Labels: numbers and back, JSON, and what is no set of classes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unrolled.data.labels import Labels
from unrolled.errors import DataError


@given(st.sets(st.text(), min_size=2))
def test_round_trip(names: set[str]):
    labels = Labels.build(name for name in [*names, *names])
    assert labels.names == tuple(sorted(names))
    assert [labels.names[labels.encode(name)] for name in names] == list(names)
    assert Labels.from_dict(json.loads(json.dumps(labels.to_dict()))) == labels


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        ([], "there are no labels: give each example one"),
        (
            ["x", "x"],
            "all examples have the label 'x': there is nothing to tell apart, give examples of at "
            "least two classes",
        ),
    ],
)
def test_too_few(names: list[str], problem: str):
    with pytest.raises(DataError) as caught:
        Labels.build(names)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    ("names", "asked", "problem"),
    [
        ("Greek Dutch", "greek", "none of the 2 learned: did you mean 'Greek'?"),
        ("b a", "z", "none of the 2 learned: there are 'a', 'b'"),
        ("f e d c b a", "z", "none of the 6 learned: there are 'a', 'b', 'c', 'd', 'e' …"),
    ],
)
def test_unseen(names: str, asked: str, problem: str):
    with pytest.raises(DataError) as caught:
        Labels.build(names.split()).encode(asked)
    assert str(caught.value) == f"the label {asked!r} is {problem}"


@pytest.mark.parametrize(
    "values", [[], {}, {"names": "ab"}, {"names": ["a", 1]}, {"names": ["a", "b"], "more": 1}]
)
def test_damaged_json_is_refused(values: object):
    with pytest.raises(DataError, match="labels are an object with names, a list of strings"):
        Labels.from_dict(values)


def test_a_label_twice_is_refused():
    with pytest.raises(DataError, match="the label 'a' stands twice"):
        Labels.from_dict({"names": ["a", "b", "a"]})
