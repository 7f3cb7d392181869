"""A text whose tokens are coloured by what they contribute to a prediction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from unrolled.inspect import style
from unrolled.inspect.numerals import numeral

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from unrolled.inspect.attribution import Attribution

_CHARACTERS = 50
"""So many fit a row."""
_LONGEST = 12
_SIGNS = {"\n": "↵", "\t": "→", " ": "␣", "": "·"}


def attribution(found: Attribution) -> Figure:
    """Rows of cells, one a token; orange makes the target likelier, purple less likely."""
    from matplotlib.colors import Normalize

    pieces = [_shown(piece) for piece in found.pieces]
    columns = max(1, _CHARACTERS // max(len(piece) for piece in pieces))
    rows = math.ceil(len(pieces) / columns)
    figure, axes = style.figure_with_axes(1.6 + 0.3 * rows)
    values = found.values.tolist()
    most = max(map(abs, values)) or 1.0
    grid = [[math.nan] * columns for _ in range(rows)]
    for k, value in enumerate(values):
        grid[k // columns][k % columns] = value
    image = axes.imshow(grid, cmap=style.DIVERGING, norm=Normalize(-most, most), aspect="auto")
    for k, (piece, value) in enumerate(zip(pieces, values, strict=True)):
        colour = style.LIGHT if abs(value) > 0.6 * most else style.DARK
        axes.text(
            k % columns, k // columns, piece, ha="center", va="center", fontsize=9, color=colour
        )  # fmt: skip
    axes.set_yticks(range(rows), [str(found.first + k * columns + 1) for k in range(rows)])
    axes.set_xlabel("token")
    axes.set_ylabel("position")
    axes.set_xticks([])
    bar = figure.colorbar(image, location="bottom", shrink=0.6, aspect=40)
    ticks = [-most, -most / 2, 0.0, most / 2, most]
    bar.set_ticks(ticks, labels=[numeral(t, 2) for t in ticks])
    target = style.short(_shown(found.target))
    bar.set_label(f"contribution to the log-probability of {target} (nats)")
    axes.set_title(
        f"{target} at position {found.position + 1}: log-probability {numeral(found.output)}, "
        f"{numeral(found.baseline)} for the baseline; the parts miss the change by "
        f"{numeral(found.error, 2)}",
        fontsize=9,
    )
    figure.set_label(f"What the prediction of {target} at position {found.position + 1} rests on")
    return figure


def _shown(piece: str) -> str:
    text = "".join(_SIGNS.get(c, c if c.isprintable() else "�") for c in piece) or _SIGNS[""]
    return style.short(text, _LONGEST)
