"""Singular values over time, and Lyapunov spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from unrolled.inspect import style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unrolled.inspect.jacobians import Jacobians
    from unrolled.inspect.lyapunov import Lyapunov

_LINES = (("largest", 1.0), ("90 % are below", 0.9), ("median", 0.5), ("10 % are below", 0.1))
_FLOOR = 1e-8
"""Smaller singular values are drawn here: nothing is left of such a direction."""


def jacobians(found: Jacobians) -> Figure:
    """The largest, the median and two quantiles over the steps; 1 is where nothing changes."""
    figure, parts = style.panels(len(found.layers))
    for axes, layer in zip(parts, found.layers, strict=True):
        points = torch.tensor([share for _, share in _LINES], dtype=torch.float64)
        curves = layer.singular.quantile(points, dim=1).clamp(min=_FLOOR)
        few = "o" if len(layer.at) <= 30 else ""
        for (name, _), curve, colour, dashes in zip(
            _LINES, curves, style.COLOURS, style.DASHES, strict=False
        ):
            axes.plot(
                layer.at, curve, color=colour, ls=dashes, marker=few, ms=3, lw=1.4, label=name
            )
        axes.axhline(1, color="black", lw=0.8)
        axes.set_yscale("log")
        axes.set_ylabel("singular value\n(factor a step)")
        k, n = len(layer.at), layer.length
        axes.set_title(f"{layer.name}: ∂({', '.join(layer.states)}), {k} of {n} steps", fontsize=10)
        axes.grid(alpha=0.3)
    parts[-1].set_xlabel("time (steps)")
    lines = parts[-1].lines[: len(_LINES)]
    figure.legend(handles=lines, fontsize=9, loc="outside lower center", ncols=len(_LINES))
    figure.set_label("Singular values of the Jacobian of a step, over time")
    return figure


def lyapunov(found: Lyapunov) -> Figure:
    """The exponents in falling order with two standard errors, a line a layer."""
    figure, axes = style.figure_with_axes(3.8)
    for n, layer in enumerate(found.layers):
        kept = layer.exponents.isfinite()
        places = torch.arange(1, len(layer.exponents) + 1)[kept]
        axes.errorbar(
            places, layer.exponents[kept], yerr=2 * layer.errors[kept], capsize=2, lw=1.2, ms=4,
            color=style.COLOURS[n % len(style.COLOURS)], ls=style.DASHES[n % len(style.DASHES)],
            marker="os^vDx"[n % 6], label=f"{layer.name} ({len(layer.exponents)} of {layer.size})",
        )  # fmt: skip
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xlabel("exponent, the largest first")
    axes.set_ylabel("Lyapunov exponent (1/step)")
    axes.locator_params("x", integer=True)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=9)
    figure.set_label("; ".join(f"{layer.name}: {layer.reason}" for layer in found.layers))
    return figure
