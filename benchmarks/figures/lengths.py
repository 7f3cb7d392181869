"""Sequences of several lengths, unsorted: whether the time goes with the sum of the lengths.

A call with ``lengths=`` is timed beside the padded call of the same layer, in alternating turns
with ``torch.nn``'s padded and packed calls; so is a call with ``resets=``.  What a call with
lengths may take beside its share of the steps is a margin, and a constant: what ``lengths=`` adds
to a call of the tiniest tensors, measured in the same run.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.agreement import compare
from benchmarks.figures import lengths_calls as ways
from benchmarks.figures.setting import Setting
from benchmarks.grid import Point, square
from benchmarks.peers.contestant import Contestant
from benchmarks.problems import MODES, Mode, make
from benchmarks.timing import Quartiles, alternate, quartiles

CELLS = ("gru", "lstm", "lstm_peephole")
"""The last is in no library."""

FULL: tuple[Point, ...] = (
    square(100, 32, 128),
    square(100, 64, 256),
    square(200, 16, 64),
    square(128, 128, 256),
)
QUICK: tuple[Point, ...] = (square(100, 32, 128),)
TINY, TINY_LENGTHS = square(2, 2, 1), (1, 2)
MARGIN = 0.1
RESETS = 0.1
"""The part of all steps that a reset comes before."""

BUDGET_S, QUICK_BUDGET_S, MOST_ROUNDS = 2.0, 0.5, 15
MOST_ROUNDS_OF_CONSTANT = 51
"""Its calls are short, and it is a small difference of two of them."""


@dataclass(frozen=True)
class Drawn:
    """Lengths drawn one way: their ``share`` of the padded steps, and seconds of the calls.

    ``ratio`` is the time with ``lengths=`` over that of the padded call, round by round.
    """

    name: str
    share: float
    seconds: Quartiles
    ratio: Quartiles
    packed: Quartiles
    torch_packed: Quartiles | None


@dataclass(frozen=True)
class Row:
    """One cell at one point; ``torch_…`` are None for a cell that ``torch.nn`` has not.

    ``constant`` are the seconds that ``lengths=`` adds to a call of the tiniest tensors,
    ``resets_ratio`` the time with ``resets=`` over that without, round by round.
    """

    cell: str
    mode: Mode
    point: Point
    rounds: int
    constant: Quartiles
    padded: Quartiles
    torch_padded: Quartiles | None
    resets: Quartiles
    resets_ratio: Quartiles
    drawn: tuple[Drawn, ...]

    def allowed(self, of: Drawn) -> float:
        """What the call with ``lengths=`` may take, over the padded call's time."""
        return of.share + MARGIN + self.constant.median / self.padded.median

    def beyond(self, of: Drawn) -> float:
        """What it takes beside its share of the steps and the constant, over the padded call's."""
        return of.ratio.median - (self.allowed(of) - MARGIN)


def draws(point: Point) -> dict[str, Tensor]:
    """Lengths [B] in the order in which a batch comes, by what they are called."""
    generator = torch.Generator().manual_seed(0)
    T, B = point.T, point.B
    one_long = torch.full((B,), max(1, T // 10))
    one_long[B // 2] = T
    return {
        "uniform": torch.randint(1, T + 1, (B,), generator=generator),
        "all half": torch.full((B,), max(1, T // 2)),
        "one long": one_long,
        "all full": torch.full((B,), T),
    }


def _resets(point: Point) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(point.T, point.B, generator=generator) < RESETS


def measure(setting: Setting) -> Iterator[Row]:
    """A row for each cell, mode and point."""
    budget_s = QUICK_BUDGET_S if setting.quick else BUDGET_S
    for cell in CELLS:
        for mode in MODES:
            constant = _constant(cell, mode, budget_s)
            for point in QUICK if setting.quick else FULL:
                yield _row(cell, mode, point, constant, budget_s)


def _constant(cell: str, mode: Mode, budget_s: float) -> Quartiles:
    layer = ways.ours(make(cell, TINY), mode)
    lengths = torch.tensor(TINY_LENGTHS)
    tiny = (ways.padded(layer), ways.with_lengths(layer, lengths))
    compare(_outcome(tiny[1]), ways.expected(layer, lengths), TINY)
    padded, cut = alternate([of.call for of in tiny], budget_s, MOST_ROUNDS_OF_CONSTANT)
    return quartiles([c - p for c, p in zip(cut, padded, strict=True)])


def _row(cell: str, mode: Mode, point: Point, constant: Quartiles, budget_s: float) -> Row:
    calls = _contestants(cell, mode, point)
    times = alternate([of.call for of in calls.values()], budget_s, MOST_ROUNDS)
    by_name = dict(zip(calls, times, strict=True))
    padded = by_name["padded"]

    def timed(name: str) -> Quartiles | None:
        return quartiles(by_name[name]) if name in by_name else None

    def beside_padded(name: str) -> Quartiles:
        return quartiles([t / p for t, p in zip(by_name[name], padded, strict=True)])

    drawn = tuple(
        Drawn(
            name,
            int(lengths.sum()) / (point.T * point.B),
            quartiles(by_name[f"lengths, {name}"]),
            beside_padded(f"lengths, {name}"),
            quartiles(by_name[f"packed, {name}"]),
            timed(f"torch packed, {name}"),
        )
        for name, lengths in draws(point).items()
    )
    return Row(
        cell, mode, point, len(padded), constant, quartiles(padded), timed("torch padded"),
        quartiles(by_name["resets"]), beside_padded("resets"), drawn,
    )  # fmt: skip


def _contestants(cell: str, mode: Mode, point: Point) -> dict[str, Contestant]:
    """All calls by name, each of which has computed what it should."""
    problem = make(cell, point)
    layer, theirs = ways.ours(problem, mode), ways.torchs(problem, mode)
    resets = _resets(point)
    found = {"padded": ways.padded(layer), "resets": ways.with_resets(layer, resets)}
    compare(ways.expected_of_resets(layer, resets), _outcome(found["resets"]), point)
    if theirs is not None:
        found["torch padded"] = ways.padded(theirs)
        compare(_outcome(found["padded"]), _outcome(found["torch padded"]), point)
    for name, lengths in draws(point).items():
        of_draw = {
            f"lengths, {name}": ways.with_lengths(layer, lengths),
            f"packed, {name}": ways.packed(layer, lengths),
        }
        if theirs is not None:
            of_draw[f"torch packed, {name}"] = ways.packed(theirs, lengths)
        expected = ways.expected(layer, lengths)
        for contestant in of_draw.values():
            compare(expected, _outcome(contestant), point)
        found |= of_draw
    return found


def _outcome(contestant: Contestant) -> dict[str, Tensor]:
    return contestant.tensors(contestant.call())
