"""Results as JSON: numbers that are not finite, what is missing, and what is of another kind."""

import json
import math
from dataclasses import dataclass

import pytest

from unrolled.experiments.encoding import decode, encode


@dataclass(frozen=True)
class Inner:
    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Outer:
    count: int
    flag: bool
    share: float | None
    pair: tuple[int, str]
    inner: tuple[Inner, ...]


def test_there_and_back() -> None:
    values = (1.0, math.inf, -math.inf, 1.23456789)
    made = Outer(3, True, None, (1, "a"), (Inner("x", values), Inner("y", ())))
    text = json.dumps(encode(made), allow_nan=False)
    rounded = Outer(3, True, None, (1, "a"), (Inner("x", (*values[:3], 1.2346)), Inner("y", ())))
    assert decode(Outer, json.loads(text)) == rounded
    assert math.isnan(decode(Inner, encode(Inner("x", (math.nan,)))).values[0])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"name": "x"}, "expected an object with name, values, got {'name': 'x'}"),
        ({"name": 1, "values": []}, "expected <class 'str'>, got 1"),
        ({"name": "x", "values": 1}, "expected a list, got 1"),
        ({"name": "x", "values": ["1"]}, "expected <class 'float'>, got '1'"),
    ],
)
def test_what_is_of_another_kind(value: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        decode(Inner, value)
    assert str(caught.value) == message
