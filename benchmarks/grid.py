"""The points that are measured: T steps, B examples, D inputs, H hidden units."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Point:
    """Sizes of one measurement."""

    T: int
    B: int
    D: int
    H: int

    def __str__(self) -> str:
        inputs = "" if self.D == self.H else f" D={self.D}"
        return f"T={self.T} B={self.B}{inputs} H={self.H}"


def square(T: int, B: int, H: int) -> Point:
    """A point with as many inputs as hidden units."""
    return Point(T, B, H, H)


BATCHES = (1, 16, 32, 64, 128)
WIDTHS = (64, 128, 256, 512, 1024)
PUBLISHED = (
    square(1024, 16, 768),
    square(128, 128, 256),
    square(30, 8, 512),
    square(30, 32, 512),
    square(30, 8, 1024),
    square(30, 32, 1024),
)
"""Points at which others have published figures; T=100 B=64 H=512 is in the grid already."""

GRID: tuple[Point, ...] = (*(square(100, B, H) for B in BATCHES for H in WIDTHS), *PUBLISHED)
FEW: tuple[Point, ...] = tuple(square(100, B, H) for B in (1, 32, 128) for H in (128, 512))
"""Where the whole grid would take longer than it tells."""

UNROLLED_64 = (square(64, 32, 256),)
"""For a peer that compiles every time step by itself."""

QUICK = (square(100, 1, 256), square(100, 32, 256), square(30, 32, 512))


def chosen(points: Iterable[Point], clauses: Sequence[str]) -> tuple[Point, ...]:
    """The points that one of the clauses fits, such as ``T=100,B=32``; all where there are none.

    ``ValueError`` for a clause that is none.
    """
    wanted = [_parse(clause) for clause in clauses]
    return tuple(
        p
        for p in points
        if not wanted or any(all(getattr(p, k) == v for k, v in w.items()) for w in wanted)
    )


def _parse(clause: str) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for part in clause.split(","):
        name, equals, number = part.strip().partition("=")
        if name not in ("T", "B", "D", "H") or not equals or not number.isdecimal():
            raise ValueError(f"{clause!r}: expected sizes of T, B, D or H, such as T=100,B=32")
        sizes[name] = int(number)
    return sizes
