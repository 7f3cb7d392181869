"""Results as plain text for a terminal: learning curves, the report by class, mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from unrolled.tasks.confusion import Confusion
from unrolled.tasks.curves import Curve

_BLOCKS = "▁▂▃▄▅▆▇█"


def learning_curves(curves: Sequence[Curve], width: int = 100) -> str:
    """Two lines a curve: what it is with its first, best and last value, and its course."""
    return "\n".join(_curve(curve, width) for curve in curves)


def _curve(curve: Curve, width: int) -> str:
    best = curve.best()
    told = [f"first {curve.values[0]:.4g}", f"last {curve.values[-1]:.4g}"]
    if best is not None:
        told.insert(1, f"best {curve.values[best]:.4g} at step {curve.steps[best]:,}")
    ends = f"steps {curve.steps[0]:,} to {curve.steps[-1]:,}"
    title = f"{curve.split} {curve.name}: {', '.join(told)}; {ends}"
    return f"{title}\n  {sparkline(curve.values, max(width - 2, 1))}"


def sparkline(values: Sequence[float], width: int) -> str:
    """The course of numbers in blocks of eight heights, each the mean of as many where too many.

    What is not finite is a space.
    """
    n = len(values)
    columns = min(n, width)
    means: list[float] = []
    for k in range(columns):
        part = values[k * n // columns : (k + 1) * n // columns]
        finite = [v for v in part if math.isfinite(v)]
        means.append(sum(finite) / len(finite) if finite else math.nan)
    known = [m for m in means if math.isfinite(m)]
    if not known:
        return " " * columns
    low, high = min(known), max(known)
    return "".join(_block(m, low, high) for m in means)


def _block(value: float, low: float, high: float) -> str:
    if not math.isfinite(value):
        return " "
    if high == low:
        return _BLOCKS[0]
    return _BLOCKS[min(int((value - low) / (high - low) * len(_BLOCKS)), len(_BLOCKS) - 1)]


def by_class(confusion: Confusion) -> str:
    """Precision, recall, F1 and the number of examples of each class, the rarest last."""
    columns = (confusion.precision(), confusion.recall(), confusion.f1())
    order = sorted(range(len(confusion.labels)), key=lambda i: -confusion.support[i])
    rows = [
        (
            confusion.labels[i],
            *("—" if math.isnan(c[i]) else f"{c[i]:.3f}" for c in columns),
            f"{confusion.support[i]:,}",
        )
        for i in order
    ]
    return aligned(("class", "precision", "recall", "F1", "examples"), rows)


def most_confused(confusion: Confusion, most: int = 10) -> str:
    """The most frequent mistakes, and what share of the true class each is."""
    support = dict(zip(confusion.labels, confusion.support.tolist(), strict=True))
    rows = [
        (true, said, f"{count:,}", f"{100 * count / support[true]:.1f} %")
        for true, said, count in confusion.pairs(most)
    ]
    if not rows:
        return "no mistake"
    return aligned(("class", "taken for", "times", "of the class"), rows, words=2)


def aligned(header: tuple[str, ...], rows: Sequence[tuple[str, ...]], words: int = 1) -> str:
    """A table whose first ``words`` columns stand to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < words else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (header, *rows)
    )
