"""The table of figures: how each is measured, judged and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.figures import (
    cells,
    first_call,
    learning,
    lengths,
    lengths_page,
    loop,
    overhead,
    parts,
    steps,
    stream,
)
from benchmarks.figures.setting import Setting
from benchmarks.verdict import Verdict


@dataclass(frozen=True)
class Figure:
    """``intro`` says what the figures of its table mean."""

    name: str
    title: str
    intro: str
    row: type
    measure: Callable[[Setting], Iterator[Any]]
    line: Callable[[Any], str]
    verdicts: Callable[[Sequence[Any]], list[Verdict]]
    section: Callable[[Sequence[Any]], str]


FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure(
            "loop",
            "The recurrent loop alone",
            "Seconds in the compiled loop, without the products before and after it, and the part "
            "of the measured multiply-add peak that its product with h comes to. *inference* and "
            "*forward* are the forward loop, without and with what backward reads being stored. "
            "The whole call is that of inference, or of forward and backward together.",
            loop.Row,
            loop.measure,
            loop.line,
            loop.verdicts,
            loop.section,
        ),
        Figure(
            "parts",
            "Where a call's time goes",
            "In milliseconds, and as parts of the call. *loop* are the compiled loops; beside it, "
            "the same without their product with h: what is elementwise, and reading and writing "
            "sequences. *products around* are those before and after the loops: of x, and in "
            "training the gradients of x and of the weights. The *rest* is Python, torch's tensors "
            "and its autograd.",
            parts.Row,
            parts.measure,
            parts.line,
            parts.verdicts,
            parts.section,
        ),
        Figure(
            "cells",
            "Our cells beside our LSTM",
            "In alternating turns.",
            cells.Row,
            cells.measure,
            cells.line,
            cells.verdicts,
            cells.section,
        ),
        Figure(
            "steps",
            "Time over the number of steps",
            "A call takes *overhead* + T × *µs a step*, fitted by least squares of relative "
            "errors. By T stands the whole time over T and, in brackets, the same without the "
            "overhead beside the fitted step: 100 % is flat.",
            steps.Row,
            steps.measure,
            steps.line,
            steps.verdicts,
            steps.section,
        ),
        Figure(
            "first_call",
            "First calls",
            "Of a process in which torch has been imported and used, B=1, D=H=128; *later* is "
            "the fastest of five calls after it. `own` is a cell that no library has. With the "
            "cache filled, another process had compiled it.",
            first_call.Row,
            first_call.measure,
            first_call.line,
            first_call.verdicts,
            first_call.section,
        ),
        Figure(
            "overhead",
            "Overhead of a call",
            "A GRU under `no_grad`, B=1, D=H=32. One more step is the slope from 1 to 64 steps, "
            "and what it takes is the arithmetic.",
            overhead.Row,
            overhead.measure,
            overhead.line,
            overhead.verdicts,
            overhead.section,
        ),
        Figure(
            "lengths",
            "Sequences of several lengths",
            "`unrolled.Recurrent` called with `lengths=` on a padded batch, in no order, beside "
            "the same call without. *Share of the steps* is the sum of the lengths over T × B: "
            "*uniform* lengths are drawn from 1 to T, of *one long* all others have a tenth of T. "
            "*Allowed* is that share, 10 % and a constant, which is what `lengths=` adds to a call "
            "of the tiniest tensors. *Packed* calls begin with `pack_padded_sequence`, "
            "`enforce_sorted=False`, and end with a `PackedSequence`; `torch.nn`'s padded calls "
            "know of no lengths. `lstm_peephole` is in no library.",
            lengths.Row,
            lengths.measure,
            lengths_page.line,
            lengths_page.verdicts,
            lengths_page.section,
        ),
        Figure(
            "stream",
            "A step of a stream",
            "Two layers, as many inputs as hidden units, under `no_grad`: a step of "
            "`layer.stream(B)`, of `torch.nn`'s two cells in a Python loop, of its layer called "
            "with T=1, and of ONNX Runtime on the model that `export_step` writes. *Reading the "
            "weights* is their bytes over the bandwidth at which as many bytes are read again and "
            "again, measured in the same run on as many threads as a step may use; it uses fewer "
            "where that is faster. *At the limit*, among the targets, is the cells' time over that "
            "of reading.",
            stream.Row,
            stream.measure,
            stream.line,
            stream.verdicts,
            stream.section,
        ),
        Figure(
            "learning",
            "Training a language model",
            "`unrolled train lm` with our layers and with `torch.nn`'s in their place, in turns of "
            "a few seconds: the same loop, windows, dropout and initial parameters; no validation. "
            "The losses are means of 10 steps; rounding alone tells the two runs apart, and "
            "training amplifies it.",
            learning.Row,
            learning.measure,
            learning.line,
            learning.verdicts,
            learning.section,
        ),
    )
}
"""By name, in the documentation's order."""

KINDS: dict[str, type] = {figure.name: figure.row for figure in FIGURES.values()}
