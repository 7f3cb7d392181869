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
    figure = package("matplotlib.figure").Figure(
        figsize=(2.9 * len(cells) + 0.6, 2.5 * len(modes) + 0.3), layout="constrained"
    )
    axes = figure.subplots(len(modes), len(cells), sharex=True, sharey=True, squeeze=False)
    for line in of_peer:
        _panel(axes[modes.index(line.mode)][cells.index(line.cell)], line)
    axes[0][0].legend(fontsize=7, frameon=False)
    figure.supylabel("times faster")
    figure.supxlabel("H")
    return figure


def _panel(axis: Any, line: Line) -> None:
    for B, color in zip(BATCHES, COLORS, strict=True):
        widths, ratios = _curve(line, B)
        if widths:
            axis.plot(widths, ratios, "o-", color=color, ms=3, lw=1.2, label=f"B={B}")
    axis.axhline(1, color="black", lw=0.8)
    if line.target is not None:
        axis.axhline(line.target, color="gray", lw=0.8, ls="--")
    axis.set_xscale("log", base=2)
    axis.set_yscale("log", base=2)
    axis.xaxis.set_major_formatter("{x:.0f}")
    axis.yaxis.set_major_formatter("{x:g}")
    axis.set_xticks(WIDTHS)
    axis.set_title(f"{line.cell}, {line.mode}", fontsize=9)
