"""Counts in words, for what tasks print."""

from __future__ import annotations


def counted(n: int, thing: str) -> str:
    """How many of a thing: "1 example", "2,005 examples"."""
    return f"{n:,} {thing}" if n == 1 else f"{n:,} {thing}s"
