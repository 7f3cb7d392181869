"""``unrolled plot``: how a run went, and the details of its figures, as pictures or as text."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unrolled.cli.eval import terminal_width
from unrolled.cli.options import Options, pick
from unrolled.errors import DataError
from unrolled.inspect.style import save
from unrolled.tasks import plots, text_plots
from unrolled.tasks.confusion import Confusion
from unrolled.tasks.curves import read_curves
from unrolled.train.directory import RunDirectory


@dataclass(frozen=True)
class PlotConfig:
    """What is drawn, and where it goes.

    Attributes:
        report: Draw what is in this file too, which unrolled eval --json wrote; by default the
            report on held-out data that the run ended with, where there is one.
        output: The directory of the pictures; by default plots in that of the run.
        image: What the pictures are.
        text: Print plain text instead, for which matplotlib is not needed.
    """

    report: str | None = None
    output: str | None = None
    image: Literal["png", "svg"] = "png"
    text: bool = False


def run(arguments: list[str]) -> int:
    """Draws, and gives the exit status."""
    options = Options(
        "plot",
        "RUN [options]",
        "Draw how a run went: its learning curves, and the details of a report.",
        "unrolled plot runs/names --report figures.json",
    )
    options.add_argument("run", type=str, metavar="RUN", help="the run's directory")
    options.add_fields(PlotConfig)
    values = options.read(["--output" if word == "-o" else word for word in arguments])
    config = pick(PlotConfig, values)
    curves = read_curves(values["run"])
    ended = RunDirectory(values["run"]).training / "report.json"
    found = config.report or (ended if ended.exists() else None)
    details = {} if found is None else _details(Path(found))
    if config.text:
        parts = [text_plots.learning_curves(curves, terminal_width())]
        if "confusion" in details:
            confusion = Confusion.from_details(details["confusion"])
            parts += [text_plots.by_class(confusion), text_plots.most_confused(confusion)]
        print("\n\n".join(parts))
        return 0
    directory = Path(config.output or Path(values["run"]) / "plots")
    picture = plots.learning_curves(curves)
    print(save(picture, directory / f"learning.{config.image}"))
    for path in plots.plot_report(details, directory, config.image):
        print(path)
    return 0


def _details(path: Path) -> dict[str, Any]:
    """The details of a report that ``unrolled eval --json`` wrote."""
    try:
        content: Any = json.loads(path.read_bytes())
        details = content["details"]
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} is no report: unrolled eval --json writes one") from error
    return details
