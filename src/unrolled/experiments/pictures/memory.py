"""The longest lags that cells bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.experiments.memory import CELLS_TRIED, SOLVED, Result
from unrolled.experiments.pictures.marks import bars
from unrolled.inspect import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def memory(result: Result) -> Figure:
    """A panel for each problem."""
    figure = style.figure(4.2)
    panels = figure.subplots(1, len(SOLVED), squeeze=False)[0]
    for axes, problem in zip(panels, SOLVED, strict=True):
        lags = result.lags(problem)
        found = {cell: result.longest(problem, cell) for cell in CELLS_TRIED}
        bars(axes, found, min, least=lags[0] / 2, most=lags[-1])
        axes.set_yticks(lags, [str(lag) for lag in lags])
        axes.minorticks_off()
        axes.set_ylim(lags[0] / 3, lags[-1] * 1.8)
        axes.set_title(f"{problem} problem", fontsize=10)
        axes.set_xlabel("cell")
        axes.set_ylabel("longest lag that is bridged (steps)")
    return figure
