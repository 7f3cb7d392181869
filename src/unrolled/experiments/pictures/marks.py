"""A mark for each start, and a bar to what stands for them all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from unrolled.inspect import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LOOKS = {
    "RNN": (style.BLUE, "-", ""),
    "GRU": (style.ORANGE, "--", "//"),
    "LSTM": (style.GREEN, "-.", ".."),
    "IRNN": (style.PINK, ":", "xx"),
}
"""Colour, dashes and hatches of each cell, the same in all figures."""


def bars(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    bar: Callable[[Sequence[float]], float],
    *,
    least: float,
    most: float,
) -> None:
    """Bars over names, on a logarithmic axis.

    Args:
        axes: Where.
        values: Those of each name, one a start.
        bar: Gives the one that a bar goes to.
        least: What is below is shown there, open.
        most: What is there or above is shown with an arrow.
    """
    for place, (name, of) in enumerate(values.items()):
        colour, _, hatch = LOOKS[name]
        axes.bar(
            place, max(bar(of), least), width=0.6, color=colour, alpha=0.55, hatch=hatch,
            edgecolor=colour, label=name,
        )  # fmt: skip
        for k, value in enumerate(of):
            x = place + 0.36 * ((k + 0.5) / len(of) - 0.5)
            filled = "black" if value >= least else "none"
            axes.plot(x, max(value, least), "o", ms=6, mec="black", mfc=filled)
            if value >= most:
                arrow = {"arrowstyle": "->"}
                axes.annotate("", (x, value * 1.5), (x, value * 1.02), arrowprops=arrow)
    axes.set_yscale("log")
    axes.set_xticks(range(len(values)), list(values))
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.grid(axis="y", alpha=0.3)
