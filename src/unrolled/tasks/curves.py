"""Learning curves: what a run's ``metrics.jsonl`` says, figure by figure."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from unrolled.errors import DataError
from unrolled.train.directory import RunDirectory
from unrolled.train.metrics import read

Better = Literal["lower", "higher"]

# What says where a run is, not how it goes.
_PLACES = {"step", "epoch", "tokens", "targets", "examples", "seconds"}
_HOW_IT_RUNS = {
    "learning_rate", "gradient_norm", "clipped_gradient_norm", "clipped", "update_ratio",
}  # fmt: skip
# Parts of the names of figures that are better lower; others are better higher.
_LOWER = ("loss", "error", "perplexity", "nll", "mase", "mae", "rmse", "pinball", "bits", "nats")


@dataclass(frozen=True)
class Curve:
    """One figure over the steps of a run.

    Attributes:
        name: The figure, such as "loss".
        split: What it was measured on, "train" or "validation".
        steps: The updates made before each value.
        values: As many.
    """

    name: str
    split: str
    steps: tuple[int, ...]
    values: tuple[float, ...]

    @property
    def better(self) -> Better:
        """Whether a better model has a lower or a higher value, by the figure's name."""
        return "lower" if any(part in self.name.lower() for part in _LOWER) else "higher"

    def best(self) -> int | None:
        """Where the best value of a validation is; None for others, and where none is finite."""
        known = [k for k, value in enumerate(self.values) if math.isfinite(value)]
        if self.split != "validation" or not known:
            return None
        sign = 1 if self.better == "lower" else -1
        return min(known, key=lambda k: sign * self.values[k])


def curves_of(records: Sequence[Mapping[str, Any]]) -> list[Curve]:
    """The curves of a run's lines of metrics: the loss first, then in the order of the lines."""
    points: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for record in records:
        for name, value in record.items():
            if name in _PLACES or isinstance(value, bool) or not isinstance(value, (int, float)):
                continue
            points.setdefault((name, record["split"]), []).append((record["step"], float(value)))
    curves = [
        Curve(name, split, *map(tuple, zip(*of, strict=True)))  # pyright: ignore
        for (name, split), of in points.items()
    ]
    return sorted(curves, key=lambda curve: (curve.name in _HOW_IT_RUNS, curve.name != "loss"))


def read_curves(run: str | os.PathLike[str]) -> list[Curve]:
    """The curves of the run in a directory.

    Raises:
        DataError: where there is no run, or it has no line of metrics yet.
    """
    path = RunDirectory(Path(run)).training / "metrics.jsonl"
    if not path.exists():
        raise DataError(f"{run} holds no run: there is no {path}")
    try:
        curves = curves_of(read(path))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if not curves:
        raise DataError(f"{path} has no figures yet: the run has not come to its first line")
    return curves
