"""What ``unrolled train lm`` is asked to do, and how that joins what a run was begun with."""

from __future__ import annotations

from argparse import SUPPRESS
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from unrolled.cli.options import Options
from unrolled.cli.samples import SampleConfig
from unrolled.data.vocabulary import VocabularyConfig
from unrolled.errors import TrainingError
from unrolled.models.config import LanguageModelConfig
from unrolled.train.config import FIXED, TrainConfig

VOCABULARY = "vocabulary_"

_DESCRIPTION = """Train a language model on text: files, directories, globs, "-" for standard
input, or "stdlib" for the source code of Python's standard library. Gzip is read as it is."""


@dataclass(frozen=True)
class CorpusConfig:
    """How the corpus is read.

    Attributes:
        pattern: Which files count in a directory, as in a shell, such as *.txt.
        encoding: How the text is encoded.
        validation_fraction: How much of the corpus is kept for validation, from its end; 0 is none.
        cache: The directory that keeps the encoded corpus for other runs too; by default it is in
            the output directory.
    """

    pattern: str = "*"
    encoding: str = "utf-8"
    validation_fraction: float = 0.1
    cache: str | None = None


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

    output: str = "runs/lm"
    overwrite: bool = False
    resume: bool = False
    tensorboard: bool = False
    device: str = "auto"


# Another one of these makes it another run.
_FIXED = FIXED | {
    "pattern",
    "encoding",
    "validation_fraction",
    *(field.name for field in fields(LanguageModelConfig)),
    *(VOCABULARY + field.name for field in fields(VocabularyConfig)),
}
# These are of one sitting alone.
_NOT_KEPT = {"config", "output", "overwrite", "resume"}


def options() -> Options:
    """The options of ``unrolled train lm``."""
    parser = Options(
        "train lm",
        "CORPUS... [options]",
        _DESCRIPTION,
        "unrolled train lm book.txt --hidden-size 512 --epochs 20 --output runs/book",
    )
    parser.add_argument(
        "corpus",
        nargs="*",
        type=str,
        # Where there is no word for it, what the configuration says holds.
        default=SUPPRESS,
        metavar="CORPUS",
        help="what to learn from",
    )
    parser.add_argument("--config", action="config", help="a YAML file with any of these options")
    parser.add_fields(OutputConfig)
    parser.add_fields(CorpusConfig)
    parser.add_fields(VocabularyConfig, VOCABULARY)
    parser.add_fields(LanguageModelConfig)
    parser.add_fields(TrainConfig)
    parser.add_fields(SampleConfig)
    return parser


def kept(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a run keeps for its other sittings."""
    return {name: value for name, value in values.items() if name not in _NOT_KEPT}


def as_begun(
    values: Mapping[str, Any], begun: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    """The options of a run that goes on, and a line for each that is not what it was.

    Args:
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
    changed = {name: value for name, value in kept(given).items() if value != begun[name]}
    for name in _FIXED & changed.keys():
        raise TrainingError(
            f"the run was begun with {name} {begun[name]!r}, not {changed[name]!r}: leave that "
            "option out, or start again with --overwrite"
        )
    notes = [f"{name} was {begun[name]!r} before" for name in changed if name != "corpus"]
    return {**values, **begun, **changed}, notes
