"""Tables and numbers as the page writes them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    every = (header, ["---"] * len(header), *rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in every)


def milliseconds(seconds: float) -> str:
    """Milliseconds with three digits: 0.0312, 1.57, 248."""
    ms = 1e3 * seconds
    digits = 2 if ms >= 1 else 3 if ms >= 0.1 else 4
    return f"{ms:.0f}" if ms >= 100 else f"{ms:.1f}" if ms >= 10 else f"{ms:.{digits}f}"
