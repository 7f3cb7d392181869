"""Fingerprints: of all that a part is, and of nothing else; who differs is said."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unrolled.data.bad_rows import BadRows
from unrolled.data.encode import encode_rows
from unrolled.data.examples import Examples
from unrolled.data.fingerprint import differing, fingerprint
from unrolled.data.labels import Labels
from unrolled.data.ragged import Ragged
from unrolled.data.row import Row
from unrolled.data.vocabulary import Vocabulary


def of(content: object) -> str:
    return fingerprint({"part": content})["part"]


def encoded(sizes: list[int], directory: Path | None = None) -> Examples:
    def encode(row: Row) -> dict[str, Any]:
        n: int = row.values["x"]
        return {"steps": np.arange(n, 2 * n), "pairs": np.ones((n, 2), np.float32), "label": n % 3}

    rows = [Row("a", line, {"x": n}) for line, n in enumerate(sizes, 1)]
    return encode_rows(rows, encode, directory, BadRows())


def test_examples_are_their_content_wherever_it_stands(tmp_path: Path):
    assert of(encoded([1, 2, 3])) == of(encoded([1, 2, 3], tmp_path / "a"))
    assert len({of(encoded(sizes)) for sizes in ([1, 2, 3], [3, 2, 1], [1, 2], [0, 1, 2, 3])}) == 4
    # Two rows of one step are not one of two.
    rows = [Ragged.of([np.zeros(n)]) for n in (2,)] + [Ragged.of([np.zeros(1), np.zeros(1)])]
    assert len({of(Examples.of({"x": each})) for each in rows}) == 2


def test_a_part_is_the_rows_that_are_meant():
    whole = encoded([1, 5, 0, 3, 2])
    chosen = [[0, 1], [1, 0], [0, 1, 2, 3, 4], [4, 3, 0, 1], []]
    parts = [whole.part(np.array(p, np.int64)) for p in chosen]
    assert len({of(part) for part in parts}) == len(parts)
    assert of(parts[2]) == of(whole)
    # The same rows out of other data are the same part.
    assert of(encoded([9, 2, 7, 3, 1, 5]).part(np.array([1, 3, 4, 5]))) == of(parts[3])


def test_types_shapes_and_names_count():
    def column(array: Any, name: str = "x") -> Examples:
        return Examples.of({}, {name: np.asarray(array)})

    arrays = [np.zeros(4, np.int32), np.zeros(2, np.int64), np.zeros((2, 2), np.int32)]
    found = [column(a) for a in arrays] + [column(arrays[0], "y")]
    assert len({*map(of, found), *map(of, arrays)}) == 7
    assert of(np.arange(10)[::2]) == of(np.array([0, 2, 4, 6, 8]))
    assert of(np.zeros(0)) != of(np.zeros((0, 2)))


@dataclass(frozen=True)
class Names:
    names: tuple[str, ...]


def test_names_and_vocabularies_count():
    contents: Sequence[object] = [
        Labels(("a", "b")), Labels(("a", "c")), Names(("a", "b")), ["a", "b"], "ab", ["ab"],
        ["a", ["b"]], [["a"], "b"], {"a": "b"}, {"b": "a"}, 1, 1.5, "1", True, ["a", None],
        *[Vocabulary.build([text], "char", unk=u) for text in ("ab", "ac") for u in (False, True)],
        Vocabulary.build(["ab"], "word"), {"a": Labels(("a", "b"))}, {"a": Labels(("a", "c"))},
    ]  # fmt: skip
    assert len({of(content) for content in contents}) == len(contents)
    assert of({"a": 1, "b": 2}) == of({"b": 2, "a": 1})


def test_what_is_none_is_no_part_and_what_is_unknown_is_refused():
    assert fingerprint({"a": None, "b": 1}).keys() == {"b"}
    with pytest.raises(TypeError, match="no fingerprint can be made of object"):
        fingerprint({"a": object()})


def test_who_differs():
    assert differing({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == []
    assert differing({"a": "1", "b": "2", "c": "3"}, {"a": "0", "b": "2", "d": "3"}) == [
        "a",
        "c",
        "d",
    ]
