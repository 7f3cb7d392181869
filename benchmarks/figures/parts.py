"""Where a call's time goes: in the loop's product, in what else it does, around it, or elsewhere.

Found by timing the compiled functions from inside a call, and the loop once more with its product
replaced by a function that does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.figures import fresh
from benchmarks.figures.setting import Setting
from benchmarks.grid import Point, square
from benchmarks.markdown import milliseconds, table
from benchmarks.problems import DROP_IN, Mode
from benchmarks.stored import decoded
from benchmarks.timing import Quartiles
from benchmarks.verdict import Verdict

FULL: tuple[Point, ...] = tuple(
    square(100, B, H) for B, H in ((1, 64), (1, 256), (1, 1024), (32, 64), (32, 256), (128, 512))
)
QUICK: tuple[Point, ...] = (square(100, 32, 64),)


@dataclass(frozen=True)
class Row:
    """Seconds of calls at one point, and of what is in them.

    ``loop`` are the loops, ``no_product`` the same without their product, ``around`` the products
    before and after them.
    """

    cell: str
    point: Point
    mode: Mode
    call: Quartiles
    loop: Quartiles
    no_product: Quartiles
    around: Quartiles

    @property
    def rest_s(self) -> float:
        """Seconds outside compiled code: Python, torch's tensors and its autograd."""
        return max(0.0, self.call.median - self.loop.median - self.around.median)


def measure(setting: Setting) -> Iterator[Row]:
    """Rows for each cell at each point; a process of its own for each cell."""
    points = QUICK if setting.quick else FULL
    sizes = [f"{p.T},{p.B},{p.D},{p.H}" for p in points]
    for cell in DROP_IN:
        for found in fresh.run(
            "benchmarks.figures.parts_child", cell, str(setting.threads), *sizes
        ):
            yield decoded(Row, found)


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    return (
        f"{row.cell:5} {row.mode:9} {row.point!s:20} {milliseconds(row.call.median)} ms: "
        f"loop {milliseconds(row.loop.median)}, without its product "
        f"{milliseconds(row.no_product.median)}, around {milliseconds(row.around.median)}, "
        f"rest {milliseconds(row.rest_s)}"
    )


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """None: the parts explain other figures."""
    return []


def section(rows: Sequence[Row]) -> str:
    """The rows as a table, in milliseconds and parts of the call."""

    def part(seconds: float, row: Row) -> str:
        return f"{milliseconds(seconds)} ({seconds / row.call.median:.0%})"

    header = (
        "cell", "mode", "T", "B", "H", "call, ms", "loop", "without its product",
        "products around", "rest",
    )  # fmt: skip
    return table(
        header,
        (
            (
                f"`{row.cell}`",
                row.mode,
                *map(str, (row.point.T, row.point.B, row.point.H)),
                milliseconds(row.call.median),
                part(row.loop.median, row),
                part(row.no_product.median, row),
                part(row.around.median, row),
                part(row.rest_s, row),
            )
            for row in rows
        ),
    )
