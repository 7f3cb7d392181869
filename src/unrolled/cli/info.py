"""``unrolled info``: what a saved model is, down to the plan that its cell is compiled to."""

from __future__ import annotations

from pathlib import Path

from unrolled.cli.figures import UNITS, in_words
from unrolled.cli.options import Options
from unrolled.lower import lower
from unrolled.models.language_model import LanguageModel
from unrolled.nn import Recurrent, choice
from unrolled.train.directory import RunDirectory
from unrolled.train.metrics import read
from unrolled.train.trainer import METRICS


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
    model = LanguageModel.from_pretrained(path)
    sections = {
        "language model": _sizes(model, path),
        "parameters": _parameters(model),
        "equations": model.recurrent.cell.latex(),
        "plan": _plan(model),
    }
    print("\n\n".join(f"── {title} ──\n{text}" for title, text in sections.items()))
    return 0


def _sizes(model: LanguageModel, path: Path) -> str:
    config, vocabulary = model.config, model.vocabulary
    rows = {
        "directory": str(path),
        "cell": config.cell,
        "layers": str(config.num_layers),
        "hidden units": str(config.hidden_size),
        "embedding": str(config.embedding_size or "one-hot") + " (tied)" * config.tied,
        "dropout": str(config.dropout),
        "vocabulary": f"{len(vocabulary):,} {UNITS[vocabulary.kind]}s",
    }
    rows |= {f"size {name}": str(size) for name, size in config.sizes.items()}
    return _table([*rows.items(), *_measured(model, path)])


def _measured(model: LanguageModel, path: Path) -> list[tuple[str, str]]:
    """The best validation, where the run that made the model is beside it."""
    metrics = RunDirectory(path).training / METRICS
    records = read(metrics) if metrics.exists() else []
    measured = [record for record in records if record["split"] == "validation"]
    if not measured:
        return []
    best = min(measured, key=lambda record: record["loss"])
    words = in_words(best["loss"], model.vocabulary.kind)
    return [("validation", f"{words} (step {best['step']:,})")]


def _parameters(model: LanguageModel) -> str:
    rows = [(name, str(list(p.shape)), f"{p.numel():,}") for name, p in model.named_parameters()]
    total = sum(parameter.numel() for parameter in model.parameters())
    return _table([*rows, ("together", "", f"{total:,}")])


def _plan(model: LanguageModel) -> str:
    """What runs each layer; for layers that torch's kernels run, our own plan of them as well."""
    layers = model.recurrent
    if isinstance(layers, Recurrent):
        return layers.explain()
    if choice.can_run(next(layers.parameters())):
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
