"""Reports as tables: plain text for a terminal of some width, and Markdown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence

from unrolled.tasks.report import Figure, Report

_HEADER = ("metric", "model", "95 % interval", "baseline", "")
_DIGITS = 5
_NARROWEST = 10
_GAP = "  "


def to_text(report: Report, width: int = 100) -> str:
    """The report as text whose lines are at most ``width`` long, where its tables are not longer.

    The figures are a table, or where that is too wide a few lines each.
    """
    width = max(width, _NARROWEST)
    rows = [_HEADER, *map(_row, report.figures)]
    lines = _columns(rows)
    if max(map(len, lines)) > width:
        lines = [line for row in rows[1:] for line in _stacked(row, width)]
    parts = ["\n".join([*textwrap.wrap(f"on {report.on}", width), *lines])]
    parts += [f"{name}\n{text.rstrip()}" for name, text in report.tables.items()]
    return "\n\n".join(parts)


def to_markdown(report: Report) -> str:
    """The report as Markdown: a table of the figures, and the further tables as they are."""
    head = [f"On {report.on}:", ""]
    rows = [_HEADER, ("---",) * len(_HEADER), *map(_row, report.figures)]
    table = [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    parts = ["\n".join([*head, *table])]
    for name, text in report.tables.items():
        parts.append(f"{name}:\n\n```text\n{text.rstrip()}\n```")
    return "\n\n".join(parts)


def verdict(figure: Figure) -> str:
    """Whether the model is better than the baseline, in a plain word.

    ``perhaps better`` is one whose baseline lies within the interval.
    """
    if figure.baseline is None:
        return ""
    numbers = (figure.value, figure.low, figure.high, figure.baseline)
    if not all(map(math.isfinite, numbers)):
        return "not comparable"
    sign = 1 if figure.better == "higher" else -1
    if sign * figure.value <= sign * figure.baseline:
        return "not better than the baseline"
    worst = figure.low if figure.better == "higher" else figure.high
    return "better" if sign * worst > sign * figure.baseline else "perhaps better"


def _row(figure: Figure) -> tuple[str, ...]:
    value, low, high, *baseline = _numbers(figure)
    told = f"{baseline[0]} ({figure.baseline_name})" if baseline else "none"
    return figure.name, value, f"{low} to {high}", told, verdict(figure)


def _numbers(figure: Figure) -> list[str]:
    """The figure's numbers with as many decimals each as the largest needs for five digits."""
    given = [figure.value, figure.low, figure.high]
    given += [] if figure.baseline is None else [figure.baseline]
    if figure.unit == "%":
        return [f"{100 * number:.2f} %" for number in given]
    largest = max((abs(n) for n in given if math.isfinite(n)), default=0.0)
    whole = math.floor(math.log10(largest)) + 1 if largest else 1
    decimals = max(_DIGITS - (whole if largest < 0.1 else max(whole, 1)), 0)
    unit = f" {figure.unit}" if figure.unit else ""
    return [f"{number:,.{decimals}f}{unit}" for number in given]


def _columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _stacked(row: tuple[str, ...], width: int) -> Iterable[str]:
    """A figure in lines of its own."""
    name, value, *rest = row
    yield from textwrap.wrap(f"{name}: {value}", width)
    for label, text in zip(_HEADER[2:], rest, strict=True):
        line = f"{label}: {text}" if label else text
        yield from textwrap.wrap(line, width, initial_indent=_GAP, subsequent_indent=2 * _GAP)
