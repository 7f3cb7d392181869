"""``unrolled eval``: how a model does on data, beside the simplest that could be done."""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from unrolled.cli.device import find_device
from unrolled.cli.model_words import first_word
from unrolled.cli.options import Options, pick
from unrolled.data.files import staged
from unrolled.errors import UserError
from unrolled.tasks.kind import Kind
from unrolled.tasks.plots import plot_report
from unrolled.tasks.render import to_text
from unrolled.tasks.report import Report
from unrolled.tasks.table import kind_of_model
from unrolled.train.directory import RunDirectory

# The width of a table that goes to a file.
_WIDTH = 100


@dataclass(frozen=True)
class EvalConfig:
    """What becomes of the figures.

    Attributes:
        json: Write them, and what plots are drawn from, into this file.
        plots: Draw what there is to draw into this directory.
        image: What the plots are.
        device: Where to compute, such as cpu or cuda.
    """

    json: str | None = None
    plots: str | None = None
    image: Literal["png", "svg"] = "png"
    device: str = "cpu"


def run(arguments: list[str]) -> int:
    """Evaluates, and gives the exit status."""
    model = first_word("eval", arguments)
    kind = None if model is None else kind_of_model(model)
    options = _options(kind)
    if kind is not None and model is not None:
        options.set_defaults(_as_learned(kind, RunDirectory(model)))
    values = options.read(arguments)
    config = pick(EvalConfig, values)
    assert kind is not None  # help has ended the program
    loaded = kind.model.from_pretrained(values["model"], find_device(config.device))
    report = kind.evaluate(loaded, values["data"], pick(kind.data, values))
    print(to_text(report, terminal_width()))
    if config.json:
        write_json(Path(config.json), report)
    if config.plots:
        drawn = plot_report(report.details, Path(config.plots), config.image)
        if not drawn:
            raise UserError(f"a report of {kind.name} has nothing to plot: leave --plots out")
        print(*(f"plot: {path}" for path in drawn), sep="\n")
    return 0


def _as_learned(kind: Kind, run: RunDirectory) -> dict[str, Any]:
    """How the run that made the model read its data, where it is beside the model.

    What names files of their own is left out: those are not to be evaluated on.
    """
    if not run.holds_run():
        return {}
    begun = run.read_settings().options
    known = {f.name: f.default for f in fields(kind.data) if f.name in begun}
    read = known.keys() - {"validation", "test", "cache"}
    # JSON has no tuples.
    return {n: tuple(begun[n]) if isinstance(known[n], tuple) else begun[n] for n in read}


def terminal_width() -> int:
    """How many characters a line has; of a file that the output goes to, a fixed number."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _WIDTH


def write_json(path: Path, report: Report) -> None:
    """The report as a JSON file; a figure that is no number is null.

    Raises:
        DataError: where it can't be written.
    """
    text = json.dumps(_finite(report.to_dict()), ensure_ascii=False, indent=1, allow_nan=False)
    with staged(path) as file:
        file.write((text + "\n").encode())


def _options(kind: Kind | None) -> Options:
    about = "" if kind is None else f" This model is for: {kind.name}, {kind.summary}."
    options = Options(
        "eval",
        "MODEL DATA... [options]",
        "Say how a model does on data, beside the simplest that could be done. Further options, of "
        "how the data is read, are as the run that made the model had them: unrolled eval MODEL "
        f"--help.{about}",
        "unrolled eval runs/names test.csv --json figures.json",
    )
    options.add_argument("model", type=str, metavar="MODEL", help="the model's directory")
    options.add_argument("data", nargs="+", type=str, metavar="DATA", help="what to evaluate on")
    options.add_argument("--config", action="config", help="a YAML file with any of these options")
    options.add_fields(EvalConfig)
    if kind is not None:
        options.add_fields(kind.data)
    return options


def _finite(value: Any) -> Any:
    """The same for JSON, which has no NaN and no infinity."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value
