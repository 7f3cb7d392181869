"""Geometric means by peer, cell and mode beside the targets, the worst points, the slower ones.

python -m benchmarks.summary [FILE]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import PEERS
from benchmarks.problems import CUSTOM, DROP_IN, MODES, Mode
from benchmarks.results import DIRECTORY, Results, Row, load

TARGETS: dict[tuple[str, str], dict[Mode, float]] = {
    ("torch.nn", "rnn"): {"training": 4.0, "inference": 3.5},
    ("torch.nn", "gru"): {"training": 3.5, "inference": 4.0},
    ("torch.nn", "lstm"): {"training": 1.7, "inference": 1.3},
    **{("jax", cell): {"training": 2.5, "inference": 2.5} for cell in (*DROP_IN, *CUSTOM)},
    ("onnxruntime", "gru"): {"inference": 1.3},
    ("onnxruntime", "lstm"): {"inference": 1.3},
    **{("loop", cell): {"training": 15.0, "inference": 15.0} for cell in CUSTOM},
}
"""What the geometric mean of peer's time / our time is to reach."""

SLOWER = 1 / 1.05
"""No point is to be slower than its peer by more than 5 %."""


@dataclass(frozen=True)
class Line:
    """A peer at one cell and mode: ``mean`` over ``rows``; ``points`` is the full grid's number."""

    peer: str
    cell: str
    mode: Mode
    mean: float
    target: float | None
    rows: tuple[Row, ...]
    points: int

    @property
    def verdict(self) -> str:
        """Whether the target is reached, ``—`` where there is none."""
        if self.target is None:
            return "—"
        return "reached" if self.mean >= self.target else "missed"

    @property
    def at_limit(self) -> float:
        """What the mean would be if each of our times were the shortest that the machine allows."""
        return geometric_mean(row.ratio.median / row.of_limit for row in self.rows)

    @property
    def worst(self) -> Row:
        """The point with the smallest ratio."""
        return min(self.rows, key=lambda row: row.ratio.median)

    @property
    def slower(self) -> tuple[Row, ...]:
        """Points at which the peer is faster by more than 5 %."""
        return tuple(row for row in self.rows if row.ratio.median < SLOWER)


def geometric_mean(values: Iterable[float]) -> float:
    """Of at least one value, all positive."""
    logs = [math.log(value) for value in values]
    return math.exp(math.fsum(logs) / len(logs))


def lines(results: Results) -> list[Line]:
    """A line for each peer, cell and mode that has rows, in the documentation's order."""
    found: list[Line] = []
    for peer in PEERS.values():
        for cell in (*DROP_IN, *CUSTOM):
            for mode in MODES:
                rows = tuple(
                    r for r in results.rows if (r.peer, r.cell, r.mode) == (peer.name, cell, mode)
                )
                if rows:
                    mean = geometric_mean(row.ratio.median for row in rows)
                    target = TARGETS.get((peer.name, cell), {}).get(mode)
                    points = len(peer.full.get(cell, ()))
                    found.append(Line(peer.name, cell, mode, mean, target, rows, points))
    return found


def text(results: Results) -> str:
    """The summary as it is printed."""
    out = [
        f"{'peer':12} {'cell':18} {'mode':9} {'points':>7} {'mean':>6} {'target':>6} "
        f"{'':7}  {'worst':>5}  at"
    ]
    every = lines(results)
    for line in every:
        worst = line.worst
        target = "" if line.target is None else f"{line.target:.1f}"
        out.append(
            f"{line.peer:12} {line.cell:18} {line.mode:9} {len(line.rows):>3}/{line.points:<3} "
            f"{line.mean:6.2f} {target:>6} {line.verdict:7}  {worst.ratio.median:5.2f}  "
            f"{worst.point}"
        )
    out += _listed("slower than the peer by more than 5 %", [r for x in every for r in x.slower])
    out += [f"refused: {r.peer} {r.cell} {r.mode} {r.point}: {r.reason}" for r in results.refused]
    return "\n".join(out)


def _listed(title: str, rows: Sequence[Row]) -> list[str]:
    return [f"{title}: {len(rows)} of the points", *(
        f"  {r.peer:12} {r.cell:18} {r.mode:9} {r.point!s:20} {r.ratio.median:5.2f} "
        f"({r.ratio.low:.2f} to {r.ratio.high:.2f})"
        for r in sorted(rows, key=lambda row: row.ratio.median)
    )]  # fmt: skip


def main() -> None:
    """Print the summary of results that are there."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.summary", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, default=DIRECTORY / "full.json")
    print(text(load(parser.parse_args().file)))


if __name__ == "__main__":
    main()
