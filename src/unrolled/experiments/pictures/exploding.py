"""Gradient norms and losses during training, and what comes of them over the matrix's scale."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from unrolled.experiments.exploding import CLIP, NONLINEARITIES, Result
from unrolled.inspect import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LOOKS = {
    False: (style.ORANGE, "-", "o", "without clipping"),
    True: (style.BLUE, "--", "s", f"clipped at {CLIP:g}"),
}
_TOP = 30.0
"""Where an infinite loss is shown."""


def exploding(result: Result) -> Figure:
    """A column for each nonlinearity."""
    figure = style.figure(9.0)
    panels = figure.subplots(3, len(NONLINEARITIES), sharey="row", squeeze=False)
    gain = max(result.budget.gains)
    for column, nonlinearity in enumerate(NONLINEARITIES):
        norms, losses, last = panels[:, column]
        for clipped, (colour, dashes, _, label) in _LOOKS.items():
            for k, course in enumerate(result.of(nonlinearity, gain, clipped=clipped)):
                named = label if k == 0 else None
                broke = not math.isfinite(course.final)
                for axes, values in ((norms, course.norms), (losses, course.losses)):
                    known = [v for v in values if math.isfinite(v)]
                    steps = range(1, len(known) + 1)
                    axes.plot(steps, known, color=colour, ls=dashes, lw=1, label=named)
                    if broke:
                        axes.plot(len(known), known[-1], "x", color=colour, ms=9, mew=2)
        norms.set_title(f"{nonlinearity}, matrix × {gain:g}", fontsize=10)
        for axes in (norms, losses):
            axes.set_yscale("log")
            axes.set_xlim(0, result.budget.steps)
            axes.set_xlabel("update")
        norms.axhline(CLIP, color=style.GREY, lw=0.8)
        _over_scales(result, nonlinearity, last)
    for axes, name in zip(
        panels[:, 0], ("gradient norm before clipping", "loss (mean squared error)",
                       "last loss (mean squared error)"), strict=True,
    ):  # fmt: skip
        axes.set_ylabel(name)
    for axes in panels.flat:
        axes.grid(alpha=0.3)
    panels[0, 0].legend(fontsize=9, handlelength=3)
    panels[2, 0].legend(fontsize=9, handlelength=3)
    return figure


def _over_scales(result: Result, nonlinearity: str, axes: Axes) -> None:
    gains = result.budget.gains
    for clipped, (colour, dashes, marker, label) in _LOOKS.items():
        finals = [
            statistics.median(c.final for c in result.of(nonlinearity, g, clipped=clipped))
            for g in gains
        ]
        shown = [min(final, _TOP) for final in finals]
        axes.plot(gains, shown, color=colour, ls=dashes, marker=marker, label=label)
        for gain, final in zip(gains, finals, strict=True):
            if not math.isfinite(final):
                axes.annotate(
                    "inf", (gain, _TOP), (0, 5), textcoords="offset points", ha="center",
                    fontsize=9,
                )  # fmt: skip
    axes.axhline(1.0, color=style.GREY, lw=0.8)
    axes.set_yscale("log")
    axes.set_ylim(0.05, 2.5 * _TOP)
    axes.set_xlabel("scale of the recurrent matrix at the start")
