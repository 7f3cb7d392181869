"""Gradient norms over the distance from the end, a panel a layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from unrolled.inspect import style
from unrolled.inspect.decay import FEW

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from unrolled.inspect.gradient_flow import GradientFlow, LayerFlow


def gradient_flow(flow: GradientFlow) -> Figure:
    """Means as lines, the middle 80 % of the sequences as bands; at initialisation dotted."""
    figure, parts = style.panels(len(flow.layers))
    states = dict.fromkeys(state for layer in flow.layers for state in layer.states)
    places = {state: k % len(style.COLOURS) for k, state in enumerate(states)}
    before = flow.initial or (None,) * len(flow.layers)
    for axes, layer, first in zip(parts, flow.layers, before, strict=True):
        _panel(axes, layer, first, places)
    parts[-1].set_xlabel("distance from the end (steps)")
    named = {t: h for axes in parts for h, t in zip(*axes.get_legend_handles_labels(), strict=True)}
    figure.legend(named.values(), named, fontsize=9, loc="outside lower center", ncols=3)
    said = "; ".join(f"{layer.name}: {layer.decay.verdict}" for layer in flow.layers)
    figure.set_label(f"Norm of the gradient over the distance from the end. {said}")
    return figure


def _panel(
    axes: Axes, layer: LayerFlow, first: LayerFlow | None, places: Mapping[str, int]
) -> None:
    for state, curve in layer.states.items():
        colour, dashes = style.COLOURS[places[state]], style.DASHES[places[state]]
        distance, label = range(len(curve.mean)), f"∂loss/∂{state}"
        axes.plot(distance, curve.mean, color=colour, ls=dashes, lw=1.6, label=f"{label}, mean")
        axes.fill_between(
            distance, curve.low, curve.high, color=colour, alpha=0.2, lw=0,
            label=f"{label}, the middle 80 %",
        )  # fmt: skip
    if first is not None:
        mean = first.together.mean
        label = "all states, at initialisation"
        axes.plot(range(len(mean)), mean, color="black", ls=":", lw=1.4, label=label)
    horizon = layer.decay.horizon
    if horizon is not None and layer.decay.verdict != "exploding":
        axes.axvline(horizon, color=style.ORANGE, ls="-.", lw=1)
        late = horizon > 0.7 * layer.decay.steps
        axes.annotate(
            f"{100 * FEW:.0f} % left at {horizon}", (horizon, 0.96), (-4 if late else 4, 0),
            va="top", ha="right" if late else "left", color="black",
            xycoords=("data", "axes fraction"), textcoords="offset points", fontsize=9,
        )  # fmt: skip
    if bool((layer.together.mean > 0).any()):
        axes.set_yscale("log")
    axes.set_ylabel("gradient norm\n(loss per unit of state)")
    axes.set_title(f"{layer.name}: {layer.decay.verdict}", fontsize=10)
    axes.grid(alpha=0.3)
