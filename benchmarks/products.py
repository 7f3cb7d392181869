"""``python -m benchmarks.products``: the products around the loop, ours beside MKL's and oneDNN's.

For each cell and point of the grid: the input's product, the gradient of the input and that of a
weight, as the CPU backend makes them, over T·B rows, packing included.  Outputs are compared before
anything is timed.  Writes ``benchmarks/results/products.json``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor

from benchmarks import machine
from benchmarks.grid import GRID, QUICK, Point, chosen
from benchmarks.problems import DROP_IN
from benchmarks.results import DIRECTORY
from benchmarks.stored import write
from benchmarks.summary import geometric_mean
from benchmarks.timing import Quartiles, alternate, quartiles
from benchmarks.work import GATES
from unrolled.backends.cpu.products import Products, products

SCHEMA = 1
FILE = DIRECTORY / "products.json"
BUDGET_S, MOST_ROUNDS = 0.6, 15

Call = Callable[[], Tensor]


class Disagreement(Exception):
    """Two libraries computed different products."""


@dataclass(frozen=True)
class Row:
    """``[rows, k] · [k, m]``, or for a weight's gradient ``[m, rows] · [rows, k]``; float32.

    ``gflops`` is our rate; ``mkl`` and ``onednn`` are their time over ours by round, the latter
    null where torch has none.
    """

    product: str
    cell: str
    point: Point
    rounds: int
    ours: Quartiles
    gflops: float
    mkl: Quartiles
    onednn: Quartiles | None


def _calls(product: str, point: Point, gates: int, of_ours: Products) -> dict[str, Call]:
    """The contestants; ``onednn`` only where torch has it."""
    generator = torch.Generator().manual_seed(0)
    n, D, G = point.T * point.B, point.D, gates * point.H
    x, d = (torch.randn(n, k, generator=generator) for k in (D, G))
    W = torch.randn(G, D, generator=generator) / D**0.5
    calls: dict[str, Call]
    match product:
        case "input":
            calls = {
                "ours": lambda: of_ours.rows(x, W),
                "mkl": lambda: torch.mm(x, W.t()),
                "onednn": lambda: _onednn(x, W),
            }
        case "d_input":
            back = W.t()
            calls = {
                "ours": lambda: of_ours.rows(d, back),
                "mkl": lambda: torch.mm(d, W),
                "onednn": lambda: _onednn(d, back),
            }
        case _:
            calls = {
                "ours": lambda: of_ours.total_outer(d, x),
                "mkl": lambda: torch.mm(d.t(), x),
                "onednn": lambda: _onednn(d.t(), x.t()),
            }
    if not torch.backends.mkldnn.is_available():
        del calls["onednn"]
    return calls


PRODUCTS = ("input", "d_input", "d_weight")


def _onednn(a: Tensor, b: Tensor) -> Tensor:
    """``a bᵀ`` through oneDNN; torch has no public name for it."""
    return torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], "")  # pyright: ignore


def compare(results: Mapping[str, Tensor], n_terms: int) -> None:
    """Raises :class:`Disagreement` where one is further from ours than rounding explains."""
    ours = results["ours"]
    allowed = 8 * torch.finfo(ours.dtype).eps * n_terms**0.5
    for name, other in results.items():
        off = float((ours - other).abs().max() / other.abs().max())
        if not off <= allowed:
            raise Disagreement(f"{name} is {off:.1e} from ours, allowed are {allowed:.1e}")


def measure(points: Sequence[Point]) -> Iterator[Row]:
    """A row for each product, cell and point."""
    of_ours = products(torch.float32)
    for point in points:
        for cell in DROP_IN:
            for product in PRODUCTS:
                calls = _calls(product, point, GATES[cell], of_ours)
                n, G = point.T * point.B, GATES[cell] * point.H
                terms = {"input": point.D, "d_input": G, "d_weight": n}[product]
                compare({name: call() for name, call in calls.items()}, terms)
                times = dict(
                    zip(
                        calls,
                        alternate(list(calls.values()), BUDGET_S, MOST_ROUNDS),
                        strict=True,
                    )
                )
                ratios = {
                    name: quartiles([t / o for t, o in zip(of, times["ours"], strict=True)])
                    for name, of in times.items()
                }
                ours = quartiles(times["ours"])
                yield Row(
                    product,
                    cell,
                    point,
                    len(times["ours"]),
                    ours,
                    2e-9 * n * point.D * G / ours.median,
                    ratios["mkl"],
                    ratios.get("onednn"),
                )


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    onednn = f", oneDNN {row.onednn.median:5.2f}" if row.onednn else ""
    return (
        f"{row.product:8} {row.cell:4} {row.point!s:20} {row.ours.median * 1e3:9.3f} ms, "
        f"{row.gflops:4.0f} GFLOP/s; times ours: MKL {row.mkl.median:5.2f}{onednn}"
    )


def summary(rows: Sequence[Row]) -> str:
    """Geometric mean, least and greatest of the ratios of each product."""
    lines: list[str] = []
    for product in PRODUCTS:
        for library in ("mkl", "onednn"):
            of = [r for r in rows if r.product == product and getattr(r, library) is not None]
            if of:
                ratios = [getattr(r, library).median for r in of]
                worst = min(of, key=lambda r: getattr(r, library).median)
                lines.append(
                    f"{product:8} {library:6} {geometric_mean(ratios):.2f} of our time "
                    f"({min(ratios):.2f}, at {worst.cell} {worst.point}, to {max(ratios):.2f})"
                )
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    """Measure, print each row as it comes, and write the file at the end."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.products", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three points")
    parser.add_argument("--points", nargs="+", default=[], metavar="SIZES", help="such as B=1")
    parser.add_argument("--threads", type=int, default=2, help="threads of all (default: 2)")
    parser.add_argument("--out", type=Path, default=FILE, metavar="FILE")
    arguments = parser.parse_args(words)
    machine.pin(arguments.threads)
    points = chosen(QUICK if arguments.quick else GRID, arguments.points)
    if not points:
        raise ValueError("no point of the grid has these sizes")
    whole = {
        "machine": asdict(machine.machine()),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "commit": machine.commit(),
        "load": machine.load(),
        "versions": machine.versions(),
    }
    rows: list[Row] = []
    start = perf_counter()
    for row in measure(points):
        rows.append(row)
        print(f"{perf_counter() - start:5.0f} s  {line(row)}", flush=True)
    write(arguments.out, SCHEMA, {**whole, "rows": [asdict(row) for row in rows]})
    print(summary(rows))


if __name__ == "__main__":
    try:
        main()
    except (Disagreement, ValueError) as error:
        sys.exit(f"python -m benchmarks.products: {error}")
