"""A run's figures over its steps, and the units that are at their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from unrolled.inspect import style
from unrolled.inspect.health_rules import HIGHEST_RATIO, LOWEST_RATIO
from unrolled.inspect.units import Units

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from unrolled.inspect.course import Line
    from unrolled.inspect.health import Health


_FEW = 10
"""The points up to which a line marks each: of a single one there is no line."""


def picture(health: Health) -> Figure:
    """A panel for each figure that the run has, below each other over one axis of steps."""
    from matplotlib.ticker import MaxNLocator

    course = health.course
    lines = course.finite()
    drawn = [_loss]
    if any(line.gradient_norm is not None for line in lines):
        drawn.append(_norms)
    if any(line.clipped is not None for line in lines):
        drawn.append(_clipped)
    if any(line.update_ratio is not None for line in lines):
        drawn.append(_ratio)
    below = bool(health.units)
    bars = 0.5 + 0.3 * len(health.units) if below else 0.0
    figure = style.figure(1.0 + 2.1 * len(drawn) + bars)
    ratios = [2.1] * len(drawn) + ([bars] if below else [])
    panels = figure.subplots(len(ratios), 1, squeeze=False, height_ratios=ratios)[:, 0]
    last = max(line.step for line in course.lines)
    panels[0].set_xlim(0, max([last, *(step for step, _ in course.validation)]) * 1.03)
    panels[0].xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))
    for axes, draw in zip(panels, drawn, strict=False):
        draw(axes, health, lines)
        axes.set_xlabel("step (updates of the parameters)")
        axes.grid(alpha=0.3)
        axes.sharex(panels[0])
    if below:
        _units(panels[-1], health.units)
    return figure


def _line(axes: Axes, lines: Sequence[Line], name: str, look: tuple[str, str, str]) -> None:
    colour, dashes, label = look
    known = [(line.step, v) for line in lines if (v := getattr(line, name)) is not None]
    steps, values = zip(*known, strict=True) if known else ((), ())
    marker = "o" if len(steps) <= _FEW else ""
    axes.plot(steps, values, color=colour, ls=dashes, lw=1.5, marker=marker, ms=4, label=label)


def _loss(axes: Axes, health: Health, lines: Sequence[Line]) -> None:
    _line(axes, lines, "loss", (style.BLUE, "-", "train"))
    if health.course.validation:
        steps, losses = zip(*health.course.validation, strict=True)
        axes.plot(steps, losses, "o--", color=style.ORANGE, ms=3, lw=1.5, label="validation")
    axes.set_ylabel("loss (nats per target)")
    axes.legend(fontsize=9)


def _norms(axes: Axes, health: Health, lines: Sequence[Line]) -> None:
    _line(axes, lines, "gradient_norm", (style.BLUE, "-", "before clipping"))
    if any(line.clipped_gradient_norm is not None for line in lines):
        _line(axes, lines, "clipped_gradient_norm", (style.ORANGE, "--", "after clipping"))
    if health.course.clip:
        axes.axhline(health.course.clip, color=style.GREY, lw=0.8)
    if any(line.gradient_norm for line in lines):
        axes.set_yscale("log")
    axes.set_ylabel("gradient norm")
    axes.legend(fontsize=9)


def _clipped(axes: Axes, health: Health, lines: Sequence[Line]) -> None:
    _line(axes, lines, "clipped", (style.BLUE, "-", ""))
    axes.set_ylim(-0.03, 1.03)
    axes.set_ylabel("share of updates clipped")


def _ratio(axes: Axes, health: Health, lines: Sequence[Line]) -> None:
    _line(axes, lines, "update_ratio", (style.BLUE, "-", ""))
    axes.axhspan(LOWEST_RATIO, HIGHEST_RATIO, color=style.GREEN, alpha=0.12, lw=0)
    axes.text(
        0.01, 0.05, f"shaded: {LOWEST_RATIO:g} to {HIGHEST_RATIO:g}", fontsize=8,
        transform=axes.transAxes,
    )  # fmt: skip
    if any(line.update_ratio for line in lines):
        axes.set_yscale("log")
    axes.set_ylabel("update-to-weight ratio")


def _units(axes: Axes, found: Sequence[Units]) -> None:
    places = range(len(found))
    low = [u.low / u.units for u in found]
    high = [u.high / u.units for u in found]
    rest = [(u.either - u.low - u.high) / u.units for u in found]
    starts = [a + b for a, b in zip(low, high, strict=True)]
    axes.barh(places, low, color=style.BLUE, height=0.7, label="lower end (relu: 0)")
    axes.barh(
        places, high, left=low, color=style.ORANGE, hatch="//", edgecolor="white", height=0.7,
        label="upper end",
    )  # fmt: skip
    axes.barh(
        places, rest, left=starts, color=style.GREEN, hatch="..", edgecolor="white", height=0.7,
        label="now one, now the other",
    )  # fmt: skip
    axes.set_yticks(places, [f"{style.short(u.value)}, {u.layer}" for u in found], fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_xlabel("units nearly always at an end (share of the units)")
    axes.set_ylabel("activation, layer")
    axes.grid(axis="x", alpha=0.3)
    axes.legend(fontsize=8)
