"""A figure a peer: how many times ours is faster, over the hidden size, a line for each batch."""

# matplotlib is an optional package, loaded at run time: its functions have no types here.
# pyright: reportUnknownVariableType=false

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.grid import BATCHES, WIDTHS, square
from benchmarks.peers.contestant import package
from benchmarks.results import Results
from benchmarks.summary import Line, lines

STEPS = 100
COLUMNS = 3
ASKED = "mean asked for"
COLORS = ("#440154", "#3b528b", "#21918c", "#5ec962", "#fca50a")


def drawn(results: Results) -> dict[str, list[Line]]:
    """The lines of each peer of which a figure is drawn: those with two widths at one batch."""
    found: dict[str, list[Line]] = {}
    for line in lines(results):
        if any(len(_curve(line, B)[0]) > 1 for B in BATCHES):
            found.setdefault(line.peer, []).append(line)
    return found


def write(results: Results, directory: Path) -> None:
    """Write ``directory/PEER.svg`` for each that is drawn.

    Raises :class:`benchmarks.peers.contestant.Missing` without matplotlib.
    """
    matplotlib = package("matplotlib")
    # The same bytes from the same figures, and text as text.
    style = {"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 9}
    with matplotlib.rc_context(style):
        for peer, of_peer in drawn(results).items():
            figure = _figure(of_peer)
            directory.mkdir(parents=True, exist_ok=True)
            figure.savefig(directory / f"{peer}.svg", metadata={"Date": None})


def _curve(line: Line, B: int) -> tuple[list[int], list[float]]:
    at = {row.point: row.ratio.median for row in line.rows}
    points = [p for p in (square(STEPS, B, H) for H in WIDTHS) if p in at]
    return [p.H for p in points], [at[p] for p in points]


def _figure(of_peer: list[Line]) -> Any:
    cells = list(dict.fromkeys(line.cell for line in of_peer))
    modes = list(dict.fromkeys(line.mode for line in of_peer))
    # Wider than a page, its words would be too small: more cells stand below the first.
    columns = min(len(cells), COLUMNS)
    blocks = -(-len(cells) // columns)
    rows = blocks * len(modes)
    figure = package("matplotlib.figure").Figure(
        figsize=(2.7 * columns + 0.6, 2.3 * rows + 0.8), layout="constrained"
    )
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    unused = {(row, column) for row in range(rows) for column in range(columns)}
    for line in of_peer:
        block, column = divmod(cells.index(line.cell), columns)
        row = block * len(modes) + modes.index(line.mode)
        _panel(axes[row][column], line)
        unused.discard((row, column))
    for row, column in unused:
        axes[row][column].set_axis_off()
        axes[row - 1][column].tick_params(labelbottom=True)
    handles, labels = _legend(axes)
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)
    figure.supylabel("times faster", fontsize=9)
    figure.supxlabel(f"hidden size H = input size, T = {STEPS}", fontsize=9)
    return figure


def _legend(axes: Any) -> tuple[list[Any], list[str]]:
    """Each label once, in the order of batches, whichever panel it is in."""
    found: dict[str, Any] = {}
    for axis in axes.flat:
        handles, labels = axis.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    order = [*(f"B={B}" for B in BATCHES), ASKED]
    labels = [label for label in order if label in found]
    return [found[label] for label in labels], labels


def _panel(axis: Any, line: Line) -> None:
    for B, color in zip(BATCHES, COLORS, strict=True):
        widths, ratios = _curve(line, B)
        if widths:
            axis.plot(widths, ratios, "o-", color=color, ms=3, lw=1.2, label=f"B={B}")
    axis.axhline(1, color="black", lw=0.8)
    if line.target is not None:
        axis.axhline(line.target, color="gray", lw=0.8, ls="--", label=ASKED)
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xticks(WIDTHS)
    axis.set_title(f"{line.cell}, {line.mode}", fontsize=9)
