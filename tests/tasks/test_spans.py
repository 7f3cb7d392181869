"""Chunks and their counts, by the rules of conlleval."""

import random

import pytest

from unrolled.tasks.spans import counts, spans


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("B-A I-A O B-B", [("A", 0, 2), ("B", 3, 4)]),
        ("B-A B-A I-A", [("A", 0, 1), ("A", 1, 3)]),
        # What BIO does not allow begins a chunk, as conlleval has it.
        ("I-A I-A O", [("A", 0, 2)]),
        ("B-A I-B I-B", [("A", 0, 1), ("B", 1, 3)]),
        ("O I-A B-A", [("A", 1, 2), ("A", 2, 3)]),
        ("O O", []),
        ("", []),
        ("B-A-B I-A-B", [("A-B", 0, 2)]),
    ],
)
def test_chunks(tags: str, expected: list[tuple[str, int, int]]):
    assert spans(tags.split()) == expected


def conlleval(gold: list[str], said: list[str]) -> tuple[int, int, int]:
    """The counts by the loop and the two rules of the script conlleval, for B, I and O."""

    def split(tag: str) -> tuple[str, str]:
        mark, _, kind = tag.partition("-")
        return mark, kind

    def end(before: tuple[str, str], now: tuple[str, str]) -> bool:
        if before[0] == "O":
            return False
        return now[0] in ("B", "O") or before[1] != now[1]

    def start(before: tuple[str, str], now: tuple[str, str]) -> bool:
        if now[0] == "O":
            return False
        return now[0] == "B" or before[0] == "O" or before[1] != now[1]

    right = found = there = 0
    inside = False
    last_gold = last_said = ("O", "")
    for g, s in zip(map(split, [*gold, "O"]), map(split, [*said, "O"]), strict=True):
        if inside:
            if end(last_gold, g) and end(last_said, s) and last_gold[1] == last_said[1]:
                inside = False
                right += 1
            elif end(last_gold, g) != end(last_said, s) or g[1] != s[1]:
                inside = False
        if start(last_gold, g) and start(last_said, s) and g[1] == s[1]:
            inside = True
        there += start(last_gold, g)
        found += start(last_said, s)
        last_gold, last_said = g, s
    return right, found, there


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_conlleval(seed: int):
    draw = random.Random(seed)
    tags = ["O", "B-A", "I-A", "B-B", "I-B"]
    for _ in range(200):
        n = draw.randint(1, 8)
        gold, said = (draw.choices(tags, k=n) for _ in range(2))
        assert counts(gold, said) == conlleval(gold, said)
        assert counts(gold, gold)[0] == len(spans(gold))
