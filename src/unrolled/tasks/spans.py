"""Chunks of a sequence of tags, and how many of them were found.

The rules are those of conlleval, the CoNLL shared tasks' scorer: I-X behind anything but B-X or I-X
begins a chunk as B-X does.  A chunk is right where both ends and its type are.
"""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[str, int, int]
"""A chunk's type, its first word and the word behind its last."""


def spans(tags: Sequence[str]) -> list[Span]:
    """The chunks of one sentence, in order."""
    found: list[Span] = []
    begin, current = 0, ""
    for place, tag in enumerate([*tags, "O"]):
        mark, _, kind = tag.partition("-")
        if current and (mark != "I" or kind != current):
            found.append((current, begin, place))
            current = ""
        if mark in ("B", "I") and not current:
            begin, current = place, kind
    return found


def counts(gold: Sequence[str], predicted: Sequence[str]) -> tuple[int, int, int]:
    """How many chunks of one sentence are right, were predicted, and are there."""
    there, said = set(spans(gold)), set(spans(predicted))
    return len(there & said), len(said), len(there)
