"""``unrolled info``: what a saved model is, down to the plan that its cells are compiled to."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from torch import nn

from unrolled.cli.figures import UNITS, in_line, in_words
from unrolled.cli.options import Options
from unrolled.data.vocabulary import Vocabulary
from unrolled.lower import lower
from unrolled.models.language_model import LanguageModel
from unrolled.models.layers import Layers
from unrolled.models.loading import kind_of, load
from unrolled.nn import GRU, LSTM, RNN, Recurrent, choice
from unrolled.train import checkpoint
from unrolled.train.directory import RunDirectory
from unrolled.train.metrics import read
from unrolled.train.progress import Progress
from unrolled.train.trainer import METRICS

_LABELS = {"num_layers": "layers", "hidden_size": "hidden units", "embedding_size": "embedding"}
# What every model has, and is shown whatever its value; the rest where it is not the default.
_ALWAYS = ("cell", "num_layers", "hidden_size", "embedding_size", "dropout")


def run(arguments: list[str]) -> int:
    """Shows a model, and gives the exit status."""
    options = Options(
        "info",
        "MODEL",
        "Show a model's sizes, parameters, equations and plan.",
        "unrolled info runs/lm",
    )
    options.add_argument("model", type=str, metavar="MODEL", help="the model's directory")
    path = Path(options.read(arguments)["model"])
    kind = kind_of(path)
    model = load(path)
    parts = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, (Recurrent, RNN, GRU, LSTM))
    }
    sections = {kind: _sizes(model, path), "parameters": _parameters(model)}
    for name, layers in parts.items():
        of = f" of {name}" if len(parts) > 1 else ""
        sections[f"equations{of}"] = _equations(layers)
        sections[f"plan{of}"] = _plan(layers)
    print("\n\n".join(f"── {title} ──\n{text}" for title, text in sections.items()))
    return 0


def _sizes(model: Any, path: Path) -> str:
    rows = [("directory", str(path)), *_settings(model.config)]
    for name, value in vars(model).items():
        if isinstance(value, Vocabulary):
            rows.append((name.replace("_", " "), f"{len(value):,} {UNITS[value.kind]}s"))
    return _table([*rows, *_measured(model, path)])


def _settings(config: Any) -> list[tuple[str, str]]:
    """The configuration: what always matters, and what is not as it would be by itself."""
    rows: list[tuple[str, str]] = []
    declared = {field.name: field for field in fields(config)}
    for name in [*_ALWAYS, *(name for name in declared if name not in _ALWAYS)]:
        if name not in declared or name == "tied":
            continue
        value, field = getattr(config, name), declared[name]
        made = field.default_factory
        default = field.default if made is MISSING else made()
        if name in _ALWAYS or value != default:
            rows.append((_LABELS.get(name, name.replace("_", " ")), _setting(config, name, value)))
    return rows


def _setting(config: Any, name: str, value: Any) -> str:
    if name == "embedding_size":
        return str(value or "one-hot") + " (tied)" * getattr(config, "tied", False)
    if isinstance(value, dict):
        return ", ".join(f"{key} {of}" for key, of in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


def _measured(model: nn.Module, path: Path) -> list[tuple[str, str]]:
    """The validation of the model that was kept, where the run that made it is beside it."""
    training = RunDirectory(path).training
    found = checkpoint.newest(training).checkpoint
    if found is None or not (training / METRICS).exists():
        return []
    kept = Progress(**found.values["progress"]).best_step
    rows: list[tuple[str, str]] = []
    for record in read(training / METRICS):
        if record["split"] == "validation" and record["step"] == kept:
            if isinstance(model, LanguageModel):
                words = in_words(record["loss"], model.vocabulary.kind)
            else:
                words = in_line(record)
            rows.append(("validation", f"{words} (step {kept:,})"))
    return rows


def _parameters(model: nn.Module) -> str:
    rows = [(name, str(list(p.shape)), f"{p.numel():,}") for name, p in model.named_parameters()]
    total = sum(parameter.numel() for parameter in model.parameters())
    return _table([*rows, ("together", "", f"{total:,}")])


def _equations(layers: Layers) -> str:
    """Those of each different cell of the layers."""
    cells = layers.cells if isinstance(layers, Recurrent) else (layers.cell,)
    return "\n\n".join(dict.fromkeys(cell.latex() for cell in cells))


def _plan(layers: Layers) -> str:
    """What runs each layer; for layers that torch's kernels run, our own plan of them as well."""
    if isinstance(layers, Recurrent) or choice.can_run(next(layers.parameters())):
        return layers.explain()
    wrt = (layers.cell.input, *layers.cell.parameters)
    # A plan names its sizes, so that all layers have the same one.
    plan = lower(layers.graphs()[0], ("y",), wrt)
    return "\n\n".join([layers.explain(), "the plan, for a backend of ours:", str(plan)])


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
