"""Sequences in parts: together they are what was cut, and each knows what stood before it."""

import numpy as np
import pytest

from unrolled.data.cuts import BEFORE, cut
from unrolled.data.examples import Examples
from unrolled.data.ragged import Ragged
from unrolled.errors import DataError

LENGTHS = (7, 1, 0, 12, 4)


def examples(width: tuple[int, ...]) -> Examples:
    draw = np.random.default_rng(0)
    made = [draw.integers(0, 99, (n, *width)).astype(np.uint16) for n in LENGTHS]
    return Examples.of({"s": Ragged.of(made)}, {"label": np.arange(5)})


@pytest.mark.parametrize("width", [(), (3,)])
@pytest.mark.parametrize("longest", [1, 2, 5, 12, 99])
@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4], [4, 0, 3]])
def test_parts_put_together_are_the_sequence(
    width: tuple[int, ...], longest: int, chosen: list[int]
):
    given = examples(width).part(np.array(chosen))
    found = cut(given, "s", longest, 7)
    assert found.first[-1] == len(found.examples)
    assert found.examples.sequences["s"].values is given.sequences["s"].values
    for place, row in enumerate(chosen):
        whole = given.sequences["s"][row]
        own = found.examples.part(np.arange(found.first[place], found.first[place + 1]))
        parts = [own.sequences["s"][i] for i in own.indices.tolist()]
        sizes = [len(part) for part in parts]
        assert np.array_equal(np.concatenate(parts), whole)
        assert len(parts) == max(1, -(-len(whole) // longest))
        assert max(sizes) - min(sizes) <= 1
        assert own.values["label"][own.indices].tolist() == [row] * len(parts)
        before = own.values[BEFORE][own.indices]
        assert (before[0] == 7).all()
        for i in range(1, len(parts)):
            assert np.array_equal(before[i], parts[i - 1][-1])


def test_parts_have_a_length():
    with pytest.raises(DataError) as error:
        cut(examples(()), "s", 0, 0)
    assert str(error.value) == "window: a part of a sequence has at least 1 step, not 0"
