"""The JSON of measurements: rows by peer, cell, mode and point, each with the run it is from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.grid import Point
from benchmarks.limits import Limits
from benchmarks.machine import Machine
from benchmarks.problems import Mode
from benchmarks.stored import ResultsError, decoded, read, write
from benchmarks.timing import Quartiles

SCHEMA = 1
DIRECTORY = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Run:
    """One call of the benchmarks: when, of what, and the limits measured in it."""

    started: str
    commit: str
    load: float
    versions: dict[str, str]
    limits: tuple[Limits, ...]

    def of(self, threads: int) -> Limits:
        """The limits for that number of threads."""
        return next(limits for limits in self.limits if limits.threads == threads)


class Key(NamedTuple):
    """What a row measures."""

    peer: str
    cell: str
    mode: Mode
    point: Point


@dataclass(frozen=True)
class Row:
    """One measurement; times are seconds a call, ``ratio`` is the peer's time over ours.

    ``error`` is the largest relative difference of outputs and gradients; ``first_ours_s`` and
    ``first_theirs_s`` are the first calls, compilation included; ``of_peak`` is the part of the FMA
    peak and ``of_limit`` the part of what the machine could do (:mod:`benchmarks.work`) that ours
    reaches.
    """

    peer: str
    cell: str
    mode: Mode
    point: Point
    run: int
    rounds: int
    ours: Quartiles
    theirs: Quartiles
    ratio: Quartiles
    error: float
    first_ours_s: float
    first_theirs_s: float
    gflops: float
    of_peak: float
    of_limit: float

    @property
    def key(self) -> Key:
        """What it measures."""
        return Key(self.peer, self.cell, self.mode, self.point)


@dataclass(frozen=True)
class Refusal:
    """A point that was not timed, for outputs differed."""

    peer: str
    cell: str
    mode: Mode
    point: Point
    run: int
    reason: str

    @property
    def key(self) -> Key:
        """What it would have measured."""
        return Key(self.peer, self.cell, self.mode, self.point)


@dataclass(frozen=True)
class Results:
    """All of one machine's measurements."""

    machine: Machine
    runs: tuple[Run, ...] = ()
    rows: tuple[Row, ...] = ()
    refused: tuple[Refusal, ...] = ()

    def with_run(self, run: Run) -> Results:
        """With one more run, the last."""
        return replace(self, runs=(*self.runs, run))

    def with_found(self, found: Iterable[Row | Refusal]) -> Results:
        """With new rows and refusals in place of those of the same keys."""
        new = tuple(found)
        keys = {of.key for of in new}
        return replace(
            self,
            rows=(
                *(r for r in self.rows if r.key not in keys),
                *(r for r in new if isinstance(r, Row)),
            ),
            refused=(
                *(r for r in self.refused if r.key not in keys),
                *(r for r in new if isinstance(r, Refusal)),
            ),
        )


def save(results: Results, path: Path) -> None:
    """Write the file at once: one that was there stays whole if this is interrupted."""
    write(path, SCHEMA, asdict(results))


def load(path: Path) -> Results:
    """Read a file; :class:`ResultsError` where it isn't one of this schema."""
    whole = read(path, SCHEMA)
    del whole["schema"]
    try:
        return decoded(Results, whole)
    except (KeyError, TypeError) as error:
        raise ResultsError(f"{path} isn't what a run has written: {error}") from error
