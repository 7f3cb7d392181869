"""Losses over time, and costs beside the LSTM's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unrolled.experiments.speed import NETWORKS, SMOOTH, Result, ratios
from unrolled.inspect import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def speed(result: Result) -> Figure:
    """Learning at the left, ratios at the right."""
    figure = style.figure(4.6)
    learning, beside = figure.subplots(1, 2, width_ratios=(5, 4))
    _learning(result, learning)
    _beside(result, beside)
    return figure


def _learning(result: Result, axes: Axes) -> None:
    for colour, dashes, name in zip(style.COLOURS, style.DASHES, NETWORKS, strict=False):
        for one in result.of(name):
            times = [(k + 1) * SMOOTH * one.seconds for k in range(len(one.losses))]
            label = name if one.round == 0 else None
            axes.plot(times, one.losses, color=colour, ls=dashes, lw=1.3, label=label)
    given = f"the given loss, {result.target:.2f}"
    axes.axhline(result.target, color="black", lw=0.8, label=given)
    axes.set_xlabel("processor time (s)")
    axes.set_ylabel("loss (nats per character)")
    axes.set_xlim(left=0)
    axes.legend(fontsize=8, handlelength=4)
    axes.grid(alpha=0.3)


def _beside(result: Result, axes: Axes) -> None:
    looks = ((style.BLUE, "o", "an update"), (style.ORANGE, "s", "to the given loss"))
    for k, (colour, marker, label) in enumerate(looks):
        for place, name in enumerate(NETWORKS):
            ratio = ratios(result, name)[k]
            axes.errorbar(
                ratio.middle, place + 0.24 * (k - 0.5),
                xerr=[[ratio.middle - ratio.low], [ratio.high - ratio.middle]],
                color=colour, marker=marker, capsize=3, ls="none",
                label=label if place == 0 else None,
            )  # fmt: skip
    axes.axvline(1.0, color=style.GREY, lw=0.8)
    axes.set_yticks(range(len(NETWORKS)), [name.replace(" with", "\nwith") for name in NETWORKS])
    axes.tick_params(axis="y", labelsize=8)
    axes.set_ylim(len(NETWORKS) + 0.6, -0.6)  # the first on top, the legend below
    axes.set_xlim(left=0)
    axes.set_xlabel("time beside the LSTM's (ratio)")
    axes.set_ylabel("network")
    axes.legend(fontsize=8, loc="lower left")
    axes.grid(axis="x", alpha=0.3)
