"""Public series as CSV files with the columns ``time`` and ``value``, from the package statsmodels.

- ``sunspots.csv``: the mean number of sunspots of each year, 1700 to 2008 (309 values).
- ``co2.csv``: carbon dioxide at Mauna Loa, in parts per million, March 1958 to December 2001 (526
  values): the mean of each month's weeks, where a month without any lies on the line between its
  neighbours. All such months are before 1965.

``python proofs/series_data.py DIRECTORY`` writes both.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import statsmodels.api as sm

Points = list[tuple[str, float]]


def sunspots() -> Points:
    """Year and mean number of sunspots."""
    data: Any = sm.datasets.sunspots.load_pandas().data
    return [(str(int(y)), float(v)) for y, v in zip(data.YEAR, data.SUNACTIVITY, strict=True)]


def co2() -> Points:
    """Month and mean concentration."""
    weekly: Any = sm.datasets.co2.load_pandas().data
    monthly = weekly["co2"].resample("MS").mean().interpolate()
    return [(f"{month:%Y-%m}", float(v)) for month, v in monthly.items()]


SERIES: Mapping[str, Callable[[], Points]] = {"sunspots": sunspots, "co2": co2}


def write(directory: Path) -> list[Path]:
    """Writes all series, each into a file of its name, and gives the files."""
    directory.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, points_of in SERIES.items():
        path = directory / f"{name}.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("time", "value"))
            writer.writerows((time, repr(value)) for time, value in points_of())
        written.append(path)
    return written


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(f"usage: {sys.argv[0]} DIRECTORY")
    for path in write(Path(sys.argv[1])):
        print(path)
