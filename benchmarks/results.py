"""The JSON of measurements: rows by peer, cell, mode and point, each with the run it is from."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.grid import Point
from benchmarks.limits import Limits, Reading
from benchmarks.machine import Machine
from benchmarks.problems import Mode
from benchmarks.timing import Quartiles

SCHEMA = 1
DIRECTORY = Path(__file__).parent / "results"


class ResultsError(Exception):
    """A file of results that can't be read, or that a run's rows don't belong into."""


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
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = _short(asdict(results))
    # A row a line: a change of one is a change of one line.
    lists = {name: whole[name] for name in ("runs", "rows", "refused")}
    parts = [f'"schema": {SCHEMA}', f'"machine": {json.dumps(whole["machine"])}']
    for name, items in lists.items():
        lines = ",\n".join(json.dumps(item) for item in items)
        parts.append(f'"{name}": [\n{lines}\n]' if items else f'"{name}": []')
    new = path.with_suffix(".new")
    new.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")
    os.replace(new, path)


def _short(value: Any) -> Any:
    """Six digits of each float: more than a measurement has."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_short(item) for item in value]
    return value


def load(path: Path) -> Results:
    """Read a file; :class:`ResultsError` where it isn't one of this schema."""
    try:
        whole = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultsError(f"{path} can't be read: {error}") from error
    schema = whole.get("schema") if isinstance(whole, dict) else None
    if schema != SCHEMA:
        raise ResultsError(f"{path} has schema {schema!r}, expected {SCHEMA}: measure anew")
    try:
        return Results(
            Machine(**whole["machine"]),
            tuple(_run(item) for item in whole["runs"]),
            tuple(_row(item) for item in whole["rows"]),
            tuple(_refusal(item) for item in whole["refused"]),
        )
    except (KeyError, TypeError) as error:
        raise ResultsError(f"{path} isn't what a run has written: {error}") from error


Item = dict[str, Any]


def _run(item: Item) -> Run:
    limits = tuple(
        Limits(of["threads"], of["gflops"], tuple(Reading(**r) for r in of["readings"]))
        for of in item["limits"]
    )
    read: Item = {**item, "limits": limits}
    return Run(**read)


def _row(item: Item) -> Row:
    read: Item = {**item, "point": Point(**item["point"])}
    for name in ("ours", "theirs", "ratio"):
        read[name] = Quartiles(**item[name])
    return Row(**read)


def _refusal(item: Item) -> Refusal:
    read: Item = {**item, "point": Point(**item["point"])}
    return Refusal(**read)
