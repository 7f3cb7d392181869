"""Gates as pictures: how they are distributed, how saturated, how long states last, over a text."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unrolled.inspect import style
from unrolled.inspect.pictures.pieces import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from unrolled.inspect.gates import Gates, GateSeen, StateKept

_MARKERS = "osD^vP*X"
_COLUMNS = 4
_SHOWN = 80
_ROWS = 64


def histograms(result: Gates) -> Figure:
    """How often each gate has which value: a panel a layer, a line a gate."""
    _require(result.gates, "gates")
    layers = list(dict.fromkeys(g.layer for g in result.gates))
    figure, panels = style.panels(len(layers))
    first = result.gates[0]
    edges = np.linspace(0, 1, len(first.counts) + 1)
    for axes, layer in zip(panels, layers, strict=True):
        for side in ((0, first.LOW), (first.HIGH, 1)):
            axes.axvspan(*side, color=style.GREY, alpha=0.15, lw=0)
        for k, gate in enumerate(g for g in result.gates if g.layer == layer):
            share = gate.counts.double() / gate.counts.sum()
            axes.stairs(
                share.numpy(), edges, color=_colour(k), ls=style.DASHES[k % len(style.DASHES)],
                lw=1.8, label=_named(gate),
            )  # fmt: skip
        axes.set_yscale("log")
        axes.set_xlim(0, 1)
        axes.set_ylabel("share of all values")
        axes.set_title(layer, fontsize=10)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    panels[-1].set_xlabel(
        f"gate's value, in {len(first.counts)} bins (grey: below {first.LOW} and above "
        f"{first.HIGH})"
    )
    return figure


def saturation(result: Gates) -> Figure:
    """Each unit by how often its gate is nearly shut and nearly open (Karpathy et al. 2015)."""
    _require(result.gates, "gates")
    names = list(dict.fromkeys(g.name for g in result.gates))
    layers = list(dict.fromkeys(g.layer for g in result.gates))
    columns = min(_COLUMNS, max(len(names), 2))
    rows = math.ceil(len(names) / columns)
    figure = style.figure(0.9 + (7.2 / columns + 0.3) * rows)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(grid, names, strict=False):
        for gate in (g for g in result.gates if g.name == name):
            k = layers.index(gate.layer)
            axes.plot(
                gate.low, gate.high, _MARKERS[k % len(_MARKERS)], color=_colour(k), ms=5,
                alpha=0.6, mew=0, label=gate.layer,
            )  # fmt: skip
        axes.plot([0, 1], [1, 0], ":", color=style.GREY, lw=1)
        axes.set_title(f"gate {style.short(name)}", fontsize=10)
        axes.set_aspect("equal")
        axes.grid(alpha=0.3)
    first = result.gates[0]
    figure.supxlabel(f"share of steps below {first.LOW} (left-saturated)", fontsize=10)
    figure.supylabel(f"share of steps above {first.HIGH} (right-saturated)", fontsize=10)
    grid[0].legend(fontsize=8)
    figure.set_label("Saturation: each unit's share of steps nearly open over nearly shut")
    return figure


def time_constants(result: Gates) -> Figure:
    """How long the units of each state last, on a logarithmic axis; what never fades by number."""
    _require(result.kept, "states that are kept by a share")
    figure, panels = style.panels(len(result.kept))
    finite = torch.cat([k.time_constants for k in result.kept])
    finite = finite[finite.isfinite() & (finite > 0)]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (1.0, 10.0)
    edges = np.geomspace(low / 1.2, high * 1.2, 31)
    for k, (axes, kept) in enumerate(zip(panels, result.kept, strict=True)):
        _one_state(axes, kept, edges, _colour(k))
    panels[-1].set_xlabel("time constant −1 / mean(ln f), in steps (tokens)")
    return figure


def _one_state(axes: Axes, kept: StateKept, edges: np.ndarray, colour: str) -> None:
    from matplotlib.ticker import LogFormatter

    finite = kept.time_constants[kept.time_constants.isfinite()]
    axes.hist(finite.numpy(), bins=edges.tolist(), color=colour)
    middle = kept.quantile(0.5)
    if math.isfinite(middle):
        axes.axvline(middle, color="black", ls="--", lw=1.2, label=f"median {middle:.3g} steps")
        axes.legend(fontsize=9)
    never = len(kept.time_constants) - len(finite)
    title = f"{kept.layer}: state {kept.state}" + (
        f", kept by {', '.join(kept.by)}" * bool(kept.by)
    )
    lasting = "1 unit never fades" if never == 1 else f"{never} units never fade"
    axes.set_title(title + f"; {lasting}" * bool(never), fontsize=10)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.6)))
    axes.set_ylabel("units")
    axes.grid(alpha=0.3)


def heat_map(result: Gates, start: int = 0, length: int = _SHOWN) -> Figure:
    """The gates that keep a state, over a stretch of the text or steps: a row a unit.

    A layer without one shows its first gate. Units are sorted by their mean, the most open at the
    top; of more than 64 so many are shown, evenly chosen.

    Args:
        result: What was seen.
        start: The first step of the stretch.
        length: How many steps.
    """
    _require(result.gates, "gates")
    chosen: dict[str, GateSeen] = {}
    for gate in sorted(result.gates, key=lambda g: not g.keeps):
        chosen.setdefault(gate.layer, gate)
    figure = style.figure(0.9 + 2.6 * len(chosen))
    panels = figure.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0]
    for axes, gate in zip(panels, chosen.values(), strict=True):
        part = gate.values[start : start + length]
        axes.imshow(
            part[:, _some_units(gate.values)].T.numpy(), cmap=style.SHADES, vmin=0, vmax=1,
            aspect="auto", interpolation="nearest",
        )  # fmt: skip
        axes.set_yticks([])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel("unit (sorted)")
        axes.set_title(f"{gate.layer}: gate {_named(gate)}", fontsize=10)
    _label_steps(panels[-1], result, start, min(length, len(next(iter(chosen.values())).values)))
    figure.colorbar(panels[0].images[0], ax=list(panels), label="gate's value", shrink=0.8)
    return figure


def _label_steps(axes: Axes, result: Gates, start: int, length: int) -> None:
    if result.sample is None:
        axes.set_xlabel("step")
        return
    pieces = result.sample.pieces[start : start + length]
    upright = max(map(len, pieces)) > 1
    axes.set_xticks(
        range(len(pieces)), [printable(p) for p in pieces], fontsize=8, rotation=90 * upright
    )
    axes.set_xlabel(f"tokens {start + 1:,} to {start + len(pieces):,} of the text")


def _some_units(values: Tensor) -> Tensor:
    """Units by their mean, falling; evenly chosen where there are too many."""
    order = values.mean(0).argsort(descending=True)
    if len(order) <= _ROWS:
        return order
    return order[torch.linspace(0, len(order) - 1, _ROWS).round().long()]


def _named(gate: GateSeen) -> str:
    return style.short(gate.name) + (f" (keeps {', '.join(gate.keeps)})" if gate.keeps else "")


def _colour(k: int) -> str:
    return style.COLOURS[k % len(style.COLOURS)]


def _require(found: object, what: str) -> None:
    if not found:
        raise ValueError(f"there is nothing to draw: the model's cells have no {what}")


PICTURES: Mapping[str, Callable[[Gates], Figure]] = {
    "histograms": histograms,
    "saturation": saturation,
    "time constants": time_constants,
    "heat map": heat_map,
}
