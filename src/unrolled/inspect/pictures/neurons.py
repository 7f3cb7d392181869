"""Units over a text as pictures: all states as a heat map, and the text coloured by one unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from unrolled.inspect import style
from unrolled.inspect.pictures.pieces import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unrolled.inspect.neurons import Neurons, Unit

_SHOWN = 80
_ROWS = 64
_LINES = 14
_MONO = "DejaVu Sans Mono"


def states_over_text(result: Neurons, start: int = 0, length: int = _SHOWN) -> Figure:
    """Every state of every layer over a stretch of the text: a row a unit, by its largest value.

    Each unit is drawn in parts of its own largest activation. Of more than 64 units those are shown
    that change most, in these parts; beside each other stand those that go together.

    Args:
        result: What was seen.
        start: The first token of the stretch.
        length: How many tokens.
    """
    pieces = result.sample.pieces[start : start + length]
    figure = style.figure(0.9 + 2.4 * len(result.states))
    panels = figure.subplots(len(result.states), 1, sharex=True, squeeze=False)[:, 0]
    for axes, ((layer, state), values) in zip(panels, result.states.items(), strict=True):
        scaled = values / values.abs().amax(0).clamp(min=torch.finfo(values.dtype).tiny)
        part = scaled[start : start + length]
        axes.imshow(
            part[:, _ordered(part)].T.numpy(), cmap=style.DIVERGING, vmin=-1, vmax=1,
            aspect="auto", interpolation="nearest",
        )  # fmt: skip
        shown = min(values.shape[1], _ROWS)
        axes.set_yticks([])
        axes.tick_params(axis="x", length=0)
        axes.set_ylabel(f"{shown} of {values.shape[1]} units")
        axes.set_title(f"{layer}: state {state}", fontsize=10)
    upright = max(map(len, pieces)) > 1
    panels[-1].set_xticks(
        range(len(pieces)), [printable(p) for p in pieces], fontsize=8, rotation=90 * upright
    )
    panels[-1].set_xlabel(f"tokens {start + 1:,} to {start + len(pieces):,} of the text")
    figure.colorbar(
        panels[0].images[0], ax=list(panels), label="activation / its largest size", shrink=0.8
    )
    return figure


def _ordered(part: Tensor) -> Tensor:
    """The units that change most, along the first principal component of their activations."""
    spread = part.double().std(0, correction=0)
    most = spread.argsort(descending=True)[:_ROWS]
    centred = part[:, most].double()
    centred = centred - centred.mean(0)
    _, _, directions = torch.linalg.svd(centred, full_matrices=False)
    return most[directions[0].argsort()]


def coloured_text(result: Neurons, unit: Unit, start: int = 0, columns: int = _SHOWN) -> Figure:
    """A stretch of the text, each character on the colour of a unit's activation after it.

    Args:
        result: What was seen.
        unit: The unit.
        start: The first character of the stretch.
        columns: Characters in a line of the picture.
    """
    values = _by_character(result, unit)
    shown = result.sample.text[start:]
    lines = _lines(shown, columns)[:_LINES]
    largest = max(float(np.abs(values).max()), 1e-12)
    figure, axes = style.figure_with_axes(1.1 + 0.24 * len(lines))
    ground = np.full((len(lines), columns), np.nan)
    for row, (begin, line) in enumerate(lines):
        at = start + begin
        ground[row, : len(line)] = values[at : at + len(line)]
    image = axes.imshow(
        ground, cmap=style.DIVERGING, vmin=-largest, vmax=largest, aspect="auto",
        interpolation="nearest",
    )  # fmt: skip
    for row, (_, line) in enumerate(lines):
        for column, mark in enumerate(line):
            dark = abs(ground[row, column]) < 0.6 * largest
            axes.text(
                column, row, "" if mark == " " else printable(mark, _MONO), family=_MONO,
                fontsize=9, ha="center", va="center", color=style.DARK if dark else style.LIGHT,
            )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    ends = sum(len(line) for _, line in lines)
    axes.set_xlabel(f"characters {start + 1:,} to {start + ends:,} of the text")
    axes.set_title(f"unit {unit.index} of {unit.layer}, state {unit.state}", fontsize=10)
    figure.colorbar(
        image, label="activation after the character", orientation="horizontal", fraction=0.05,
        aspect=60,
    )  # fmt: skip
    figure.set_label(f"Text coloured by {unit}")
    return figure


def _by_character(result: Neurons, unit: Unit) -> np.ndarray:
    """The activation after the token that each character belongs to."""
    token = np.searchsorted(result.sample.places.numpy(), np.arange(len(result.sample.text)))
    return result.values(unit).numpy()[token]


def _lines(text: str, columns: int) -> list[tuple[int, str]]:
    """The text cut at line ends and where a line is full, each with where it begins."""
    found: list[tuple[int, str]] = []
    at = 0
    while at < len(text) and len(found) < _LINES:
        end = text.find("\n", at, at + columns) + 1 or min(at + columns, len(text))
        found.append((at, text[at:end]))
        at = end
    return found
