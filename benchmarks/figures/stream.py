"""A step of a stream: ``layer.stream(B)`` beside torch's cells, its layer, and ONNX Runtime's step.

A step can't be faster than its weights are read.  How fast that is, is measured in the same run:
as many bytes as the weights have, read again and again by as many threads as a step may use.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import fresh
from benchmarks.figures.setting import Setting
from benchmarks.markdown import table
from benchmarks.stored import decoded
from benchmarks.timing import Quartiles
from benchmarks.verdict import Verdict

CELLS = ("gru", "lstm")
LAYERS = 2
FULL: tuple[tuple[int, int], ...] = tuple((B, H) for B in (1, 8) for H in (32, 64, 128, 256, 512))
QUICK: tuple[tuple[int, int], ...] = ((1, 32), (1, 256))
"""Batch size and hidden size; there are as many inputs."""

JUDGED = (1, 256)
MOST_OF_LIMIT, LEAST_BESIDE_CELLS = 2.0, 10.0


@dataclass(frozen=True)
class Row:
    """Seconds a step of two layers at one size, on so many threads.

    ``cells`` are ``torch.nn.GRUCell`` or ``LSTMCell`` in a loop, ``layer`` is ``torch.nn.GRU`` or
    ``LSTM`` called with T=1, ``onnx`` ONNX Runtime on what ``export_step`` writes, None where it is
    not installed.  ``ratio`` is the cells' time over ours, round by round.  ``error`` is how far
    the stream's outputs and states are from those of the sequence call, relative to the largest;
    ``rounding`` is what float32 explains.
    """

    cell: str
    threads: int
    B: int
    H: int
    rounds: int
    error: float
    rounding: float
    weight_bytes: int
    gb_s: float
    ours: Quartiles
    cells: Quartiles
    layer: Quartiles
    onnx: Quartiles | None
    ratio: Quartiles

    @property
    def limit_s(self) -> float:
        """Seconds in which the weights are read."""
        return self.weight_bytes / (self.gb_s * 1e9)

    @property
    def of_limit(self) -> float:
        """How many times as long a step of ours takes."""
        return self.ours.median / self.limit_s

    @property
    def at_limit(self) -> float:
        """How many times as fast as torch's cells a step would be that reads and does no more."""
        return self.cells.median / self.limit_s


def measure(setting: Setting) -> Iterator[Row]:
    """A row for each cell, number of threads and size; a process of its own for each two."""
    sizes = [f"{B},{H}" for B, H in (QUICK if setting.quick else FULL)]
    for cell in CELLS:
        for threads in sorted({1, setting.threads}):
            words = (cell, str(threads), *sizes)
            for found in fresh.run("benchmarks.figures.stream_child", *words):
                yield decoded(Row, found)


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    onnx = "" if row.onnx is None else f", ONNX Runtime {_us(row.onnx)}"
    return (
        f"{row.cell:5} {_threads(row.threads):9} B={row.B} H={row.H:<4} {_us(row.ours)} µs a step, "
        f"{row.of_limit:.2f} of {row.limit_s * 1e6:.2f}; cells {_us(row.cells)}, "
        f"T=1 {_us(row.layer)}{onnx}"
    )


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """The limit and torch's cells at one size, by threads; rounding at all sizes."""
    found: list[Verdict] = []
    B, H = JUDGED
    for threads in sorted({row.threads for row in rows}):
        judged = [row for row in rows if (row.threads, row.B, row.H) == (threads, B, H)]
        where = f"B={B} H={H}, two layers, {_threads(threads)}"
        if judged:
            slowest = max(row.of_limit for row in judged)
            least = min(row.ratio.median for row in judged)
            found += [
                Verdict(
                    f"a step of `layer.stream`, {where}",
                    f"≤ {MOST_OF_LIMIT:.0f} × reading the weights",
                    f"{slowest:.2f} × at most",
                    slowest <= MOST_OF_LIMIT,
                    "; ".join(f"{r.cell} {r.of_limit:.2f}, {r.gb_s:.0f} GB/s" for r in judged),
                ),
                Verdict(
                    f"the same beside `torch.nn`'s cells in a loop, {_threads(threads)}",
                    f"≥ {LEAST_BESIDE_CELLS:.0f} times as fast",
                    f"{least:.2f} times at least",
                    least >= LEAST_BESIDE_CELLS,
                    "; ".join(
                        f"{r.cell} {r.ratio.median:.2f}, at the limit {r.at_limit:.2f}"
                        for r in judged
                    ),
                ),
            ]
    if rows:
        worst = max(rows, key=lambda row: row.error / row.rounding)
        found.append(
            Verdict(
                "`layer.stream` beside the sequence call",
                "float32's rounding",
                f"{worst.error:.1e} off at most",
                worst.error <= worst.rounding,
                f"rounding explains {worst.rounding:.1e}; {len(rows)} cases",
            )
        )
    return found


def section(rows: Sequence[Row]) -> str:
    """The rows as a table, in microseconds."""
    header = (
        "cell", "threads", "B", "H", "`stream`, µs", "reading the weights, µs", "GB/s", "times it",
        "`torch.nn` cells, µs", "times ours", "`torch.nn`, T=1, µs", "ONNX Runtime, µs",
    )  # fmt: skip
    return table(
        header,
        (
            (
                f"`{row.cell}`",
                *map(str, (row.threads, row.B, row.H)),
                _us(row.ours),
                f"{row.limit_s * 1e6:.2f}",
                f"{row.gb_s:.0f}",
                f"**{row.of_limit:.2f}**",
                _us(row.cells),
                f"**{row.ratio.median:.2f}** ({row.ratio.low:.2f}–{row.ratio.high:.2f})",
                _us(row.layer),
                "" if row.onnx is None else _us(row.onnx),
            )
            for row in rows
        ),
    )


def _us(of: Quartiles) -> str:
    return f"{of.median * 1e6:.2f}"


def _threads(threads: int) -> str:
    return f"{threads} thread{'s' * (threads > 1)}"
