"""What ``unrolled train`` is asked to do, and how that joins what a run was begun with."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from unrolled.cli.options import Options
from unrolled.cli.samples import SampleConfig
from unrolled.errors import TrainingError
from unrolled.tasks.kind import Kind
from unrolled.train.config import FIXED, TrainConfig


@dataclass(frozen=True)
class OutputConfig:
    """Where the model goes.

    Attributes:
        output: The directory of the model, its checkpoints and its metrics.
        overwrite: Replace what is there.
        resume: Go on with the run that is there, with its settings; where there is none, begin it.
        tensorboard: Write the metrics for TensorBoard too.
        device: Where to compute, such as cpu or cuda; auto takes a GPU where there is one.
    """

    output: str = "runs/model"
    overwrite: bool = False
    resume: bool = False
    tensorboard: bool = False
    device: str = "auto"


# These are of one sitting alone.
_NOT_KEPT = {"config", "output", "overwrite", "resume"}


def options(kind: Kind) -> Options:
    """The options of ``unrolled train <kind>``."""
    parser = Options(
        f"train {kind.name}",
        "DATA... [options]",
        f"{kind.summary[0].upper()}{kind.summary[1:]}. {kind.reads}",
        f"unrolled train {kind.name} {kind.example} --output runs/{kind.name}",
    )
    parser.add_argument(
        "data",
        nargs="*",
        type=str,
        # Where there is no word for it, what the configuration says holds.
        default=SUPPRESS,
        metavar="DATA",
        help="what to learn from",
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of these options")
    parser.add_fields(OutputConfig)
    parser.add_fields(kind.data)
    parser.add_fields(kind.config)
    parser.add_fields(TrainConfig)
    if kind.draw:
        parser.add_fields(SampleConfig)
    parser.set_defaults({"output": f"runs/{kind.name}", **kind.defaults})
    return parser


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a run keeps for its other sittings."""
    return {name: value for name, value in values.items() if name not in _NOT_KEPT}


def as_begun(
    kind: Kind, values: Mapping[str, Any], begun: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The options of a run that goes on, and a line for each that is not what it was.

    Args:
        kind: What is trained.
        values: All options of this sitting.
        begun: Those that the run was begun with.
        given: Those of this sitting that the user spelled out.

    Raises:
        TrainingError: where one is not what it was, and that would make it another run.
    """
    if begun.keys() != kept(values).keys():
        raise TrainingError(
            "the run's settings are damaged, or of another version of Unrolled: start again with "
            "--overwrite"
        )
    changed = {name: value for name, value in kept(given).items() if _plain(value) != begun[name]}
    # Another one of these makes it another run.
    fixed = FIXED | {f.name for config in (kind.data, kind.config) for f in fields(config)}
    for name in (fixed - {"cache"}) & changed.keys():
        raise TrainingError(
            f"the run was begun with {name} {begun[name]!r}, not {changed[name]!r}: leave that "
            "option out, or start again with --overwrite"
        )
    notes = [f"{name} was {begun[name]!r} before" for name in changed if name != "data"]
    return {**values, **begun, **changed}, notes


def _plain(value: Any) -> Any:
    """The same as JSON, which has no tuples, gives it back."""
    return list(value) if isinstance(value, tuple) else value
