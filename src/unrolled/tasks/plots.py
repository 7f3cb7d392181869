"""Results as pictures, PNG or SVG, with matplotlib (the extra ``plots``)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unrolled.inspect.style import (
    BANDS,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    SHADES,
    Format,
    figure_with_axes,
    panels,
    save,
    short,
)
from unrolled.tasks.confusion import Confusion
from unrolled.tasks.curves import Curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STYLES = {"train": (BLUE, "-", ""), "validation": (ORANGE, "--", "o")}
_CLASSES = 40
_NUMBERS = 20
_TIMES = 7
_UNITS = {"loss": "loss (nats per target)", "learning_rate": "learning rate (per step)"}
_SHARES = ("accuracy", "recall", "precision", "f1", "rate")
_HIDDEN = {"gradient_norm", "clipped_gradient_norm", "clipped", "update_ratio"}


def plot_report(details: Mapping[str, Any], directory: Path, format: Format = "png") -> list[Path]:
    """Draws all that a report's details hold.

    Args:
        details: ``confusion``: ``labels`` and ``counts``. ``forecast``: see :func:`forecast`.
            Whatever else they hold is not drawn.
        directory: Where the pictures go.
        format: Their format.

    Returns:
        The pictures' files; none where there is nothing to draw.

    Raises:
        UserError: where matplotlib is not installed.
        DataError: where a picture can't be written.
    """
    pictures: dict[str, Callable[[], Figure]] = {}
    if "confusion" in details:
        confusion = Confusion.from_details(details["confusion"])
        pictures["confusion"] = lambda: confusion_matrix(confusion)
        pictures["recall"] = lambda: recall_bars(confusion)
    if "forecast" in details:
        pictures["forecast"] = lambda: forecast(details["forecast"])
    return [save(draw(), directory / f"{name}.{format}") for name, draw in pictures.items()]


def confusion_matrix(confusion: Confusion) -> Figure:
    """Rows by the true class; each cell's colour is its share of the row.

    Of more than 40 classes the most frequent are shown, and the others as one.
    """
    few = confusion.largest(_CLASSES, "(others)")
    k = len(few.labels)
    figure, axes = figure_with_axes(height=7.2)
    from matplotlib.colors import PowerNorm

    support = np.maximum(few.support, 1)[:, None]
    # By the root, or else one mistake in a hundred would look like none.
    scale = PowerNorm(0.5, vmin=0, vmax=1)
    image = axes.imshow(few.counts / support, cmap=SHADES, norm=scale)
    size = 9 if k <= _NUMBERS else 7
    axes.set_xticks(range(k), [short(label) for label in few.labels], rotation=90, fontsize=size)
    axes.set_yticks(range(k), [short(label) for label in few.labels], fontsize=size)
    axes.set_xlabel("what the model says")
    axes.set_ylabel("true class")
    axes.set_title(f"{int(confusion.counts.sum()):,} examples", fontsize=10)
    if k <= _NUMBERS:
        _write_counts(axes, few)
    figure.colorbar(image, label="share of the true class", shrink=0.8)
    return figure


def _write_counts(axes: Axes, confusion: Confusion) -> None:
    shares = confusion.counts / np.maximum(confusion.support, 1)[:, None]
    for (i, j), count in np.ndenumerate(confusion.counts):
        if count:
            colour = "black" if shares[i, j] > 0.25 else "white"
            axes.text(j, i, f"{count}", ha="center", va="center", color=colour, fontsize=8)


def recall_bars(confusion: Confusion) -> Figure:
    """The recall of each class with its 95 % interval, the most frequent class at the top.

    Of more than 40 classes the most frequent are shown.
    """
    order = np.argsort(confusion.support, kind="stable")[-_CLASSES:]
    recall, (low, high) = confusion.recall()[order], confusion.recall_interval()
    figure, axes = figure_with_axes(height=max(3.0, 1.2 + 0.24 * len(order)))
    places = np.arange(len(order))
    errors = np.clip(np.stack([recall - low[order], high[order] - recall]), 0, None)
    axes.barh(places, np.nan_to_num(recall), color=BLUE, height=0.7)
    axes.errorbar(recall, places, xerr=errors, fmt="none", ecolor="black", capsize=2, lw=1)
    labels, support = confusion.labels, confusion.support
    names = [f"{short(labels[i])} ({support[i]:,})" for i in order]
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_xlabel("recall (share of the class that is found), with its 95 % interval")
    axes.set_ylabel("class (number of examples)")
    axes.grid(axis="x", alpha=0.3)
    return figure


def learning_curves(curves: Sequence[Curve]) -> Figure:
    """A panel a figure over the steps, training and validation in one; the best is marked."""
    names = [n for n in dict.fromkeys(curve.name for curve in curves) if n not in _HIDDEN]
    figure, parts = panels(len(names))
    for axes, name in zip(parts, names, strict=True):
        for curve in (curve for curve in curves if curve.name == name):
            colour, dashes, marker = _STYLES.get(curve.split, (GREEN, ":", ""))
            few = marker if len(curve.steps) <= 60 else ""
            axes.plot(
                curve.steps, curve.values, dashes, color=colour, marker=few, ms=3, lw=1.5,
                label=curve.split,
            )  # fmt: skip
            best = curve.best()
            if best is not None:
                axes.plot(
                    curve.steps[best], curve.values[best], "*", color="black", ms=11,
                    label=f"best: {curve.values[best]:.4g} at step {curve.steps[best]:,}",
                )  # fmt: skip
        axes.set_ylabel(_with_unit(name))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=9)
    parts[-1].set_xlabel("step (updates of the parameters)")
    return figure


def _with_unit(name: str) -> str:
    share = " (share)" if any(part in name.lower() for part in _SHARES) else ""
    return _UNITS.get(name, name.replace("_", " ") + share)


def forecast(details: Mapping[str, Any]) -> Figure:
    """A panel a series: forecasts, with a band between each pair of quantiles, over what came.

    Args:
        details: See ``shown`` in ``unrolled.tasks.forecast_shown``.
    """
    series: Sequence[Mapping[str, Any]] = details["series"]
    figure, parts = panels(len(series), each=3.6 if len(series) == 1 else 2.6, shared=False)
    for axes, one in zip(parts, series, strict=True):
        observed: Sequence[float] = one["observed"]
        axes.plot(range(len(observed)), observed, "-", color="black", lw=1.2, label="observed")
        for number, window in enumerate(one["windows"]):
            _quantiles(axes, window["start"], window["quantiles"], named=number == 0)
        places = np.unique(np.linspace(0, len(observed) - 1, _TIMES).round().astype(int))
        axes.set_xticks(places, [one["times"][place] for place in places], fontsize=9)
        axes.set_ylabel(details["value"])
        axes.grid(alpha=0.3)
        if len(series) > 1:
            axes.set_title(short(one["name"], 60), fontsize=10)
    parts[-1].set_xlabel(details["time"])
    # Above the panels, where it covers nothing.
    handles, names = parts[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=4, fontsize=9)
    return figure


def _quantiles(
    axes: Axes, start: int, quantiles: Mapping[str, Sequence[float]], *, named: bool
) -> None:
    """One forecast from a place on; its parts have names in the legend where this is asked."""
    by_level = {float(level): values for level, values in quantiles.items()}
    levels = sorted(by_level)
    steps = range(start, start + len(by_level[levels[0]]))
    for bands, (low, high) in enumerate(zip(levels, levels[::-1], strict=True)):
        if low >= high:
            break
        label = f"central {100 * (high - low):.0f} %" if named else None
        shade = BANDS[min(bands, len(BANDS) - 1)]
        axes.fill_between(steps, by_level[low], by_level[high], color=shade, lw=0, label=label)
    middle = min(levels, key=lambda level: abs(level - 0.5))
    label = "median" if math.isclose(middle, 0.5) else f"quantile {middle:g}"
    axes.plot(steps, by_level[middle], "--", color=BLUE, lw=1.8, label=label if named else None)
    axes.axvline(start - 0.5, color=GREY, ls=":", lw=1)
