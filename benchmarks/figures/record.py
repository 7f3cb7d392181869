"""The JSON of figures: each figure's rows, with the run that they are from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.machine import Machine
from benchmarks.results import DIRECTORY, Run
from benchmarks.stored import ResultsError, decoded, read, write

SCHEMA = 1
FILE = DIRECTORY / "figures.json"


@dataclass(frozen=True)
class Measured:
    """All rows of one figure, and the run that measured them."""

    figure: str
    run: Run
    rows: tuple[Any, ...]


@dataclass(frozen=True)
class Record:
    """All figures of one machine."""

    machine: Machine
    measured: tuple[Measured, ...] = ()

    def rows(self, figure: str) -> tuple[Any, ...]:
        """A figure's rows, none where it has not been measured."""
        return next((m.rows for m in self.measured if m.figure == figure), ())

    def having(self, new: Measured) -> Record:
        """With a figure's new rows in place of its old ones."""
        others = (m for m in self.measured if m.figure != new.figure)
        return replace(self, measured=(*others, new))


def save(record: Record, path: Path) -> None:
    """Write the file, a row a line."""
    runs = [{"figure": m.figure, **asdict(m.run)} for m in record.measured]
    rows = [{"figure": m.figure, **asdict(row)} for m in record.measured for row in m.rows]
    write(path, SCHEMA, {"machine": asdict(record.machine), "runs": runs, "rows": rows})


def load(path: Path, kinds: Mapping[str, type]) -> Record:
    """Read a file whose figures have rows of these ``kinds``.

    Raises :class:`ResultsError` where it can't be read, or is not what a run has written.
    """
    whole = read(path, SCHEMA)
    try:
        measured = [_measured(item, whole["rows"], kinds) for item in whole["runs"]]
        return Record(decoded(Machine, whole["machine"]), tuple(measured))
    except (KeyError, TypeError) as error:
        raise ResultsError(f"{path} isn't what a run has written: {error}") from error


def _measured(
    run: dict[str, Any], rows: Sequence[dict[str, Any]], kinds: Mapping[str, type]
) -> Measured:
    figure = run["figure"]
    own = (_untagged(row) for row in rows if row["figure"] == figure)
    kind = kinds[figure]
    return Measured(figure, decoded(Run, _untagged(run)), tuple(decoded(kind, row) for row in own))


def _untagged(item: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != "figure"}
