"""How far cells generalise that learned to count, and the units that count."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from unrolled.experiments.counting import CELLS_TRIED, LANGUAGES, Result
from unrolled.experiments.pictures.marks import LOOKS, bars
from unrolled.inspect import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def counting(result: Result) -> Figure:
    """A column for each language."""
    figure = style.figure(7.2)
    panels = figure.subplots(2, len(LANGUAGES), squeeze=False)
    trained, tested = result.budget.trained, result.budget.tested
    for column, language in enumerate(LANGUAGES):
        reach, unit = panels[:, column]
        found = {c: [one.right for one in result.of(language, c)] for c in CELLS_TRIED}
        bars(reach, found, statistics.median_low, least=0.7, most=tested)
        reach.axhline(trained, color="black", ls="--", lw=1)
        reach.text(-0.55, trained * 1.08, "longest learned from", va="bottom", fontsize=8)
        reach.set_ylim(0.5, tested * 2)
        reach.set_yticks([n for n in (1, 10, 100, 1000) if n <= tested])
        reach.yaxis.set_major_formatter("{x:g}")
        reach.set_title(language, fontsize=10)
        reach.set_xlabel("cell")
        reach.set_ylabel("right on every n up to")
        _units(result, language, unit)
    return figure


def _units(result: Result, language: str, axes: Axes) -> None:
    n = 2 * result.budget.trained
    count = [1 - abs(k - n) / n for k in range(2 * n + 1)]
    axes.plot(range(2 * n + 1), count, color="black", lw=5, alpha=0.2, label="a's less b's")
    for cell in CELLS_TRIED:
        colour, dashes, _ = LOOKS[cell]
        found = result.middle(language, cell).counter
        sign = 1 if found.correlation >= 0 else -1
        values = [sign * v for v in found.values]
        low, high = min(values), max(values)
        scaled = [(v - low) / (high - low or 1) for v in values]
        label = f"{cell}, {found.state}[{found.unit}]: r = {abs(found.correlation):.3f}"
        axes.plot(range(len(scaled)), scaled, color=colour, ls=dashes, lw=1.8, label=label)
    axes.axvline(n + 0.5, color=style.GREY, lw=0.8)
    for place, letter in ((0.25, "a a a …"), (0.75, "b b b …")):
        axes.text(place, 1.02, letter, transform=axes.transAxes, ha="center", fontsize=9)
    axes.set_xlabel("symbol of the string")
    axes.set_ylabel("unit's value (share of its range)")
    axes.set_ylim(-0.55, 1.08)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.legend(fontsize=8, loc="lower center")
    axes.grid(alpha=0.3)
