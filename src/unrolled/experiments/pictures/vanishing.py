"""The share of the gradient that is left over the distance."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.experiments.vanishing import LEFT, Result
from unrolled.inspect import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FLOOR = 1e-12
_LONG_DASHES = (0, (8, 2, 1, 2))


def vanishing(result: Result) -> Figure:
    """A line for each network, with its spread."""
    figure, axes = style.figure_with_axes(5.2)
    looks = zip(
        (*style.COLOURS, style.GREY), (*style.DASHES, _LONG_DASHES), result.flows, strict=True
    )
    for colour, dashes, flow in looks:
        distances = range(len(flow.median))
        axes.plot(distances, flow.median, color=colour, ls=dashes, lw=2, label=flow.network)
        axes.fill_between(distances, flow.low, flow.high, color=colour, alpha=0.15, lw=0)
    axes.axhline(LEFT, color=style.GREY, lw=0.8)
    axes.text(result.budget.steps, LEFT * 1.15, "1 %", color=style.GREY, ha="right", fontsize=9)
    axes.set_yscale("log")
    axes.set_ylim(_FLOOR, 3)
    axes.set_xlim(0, result.budget.steps)
    axes.set_xlabel("distance back in time T − t (steps)")
    axes.set_ylabel("gradient norm (share of that at distance 0)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9, handlelength=4, loc="upper right", bbox_to_anchor=(1, 0.7))
    return figure
