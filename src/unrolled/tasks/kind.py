"""A kind of task: all that the commands need to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unrolled.tasks.report import Report
from unrolled.train.task import Task


@dataclass(frozen=True)
class Cache:
    """Where encoded data is kept.

    Attributes:
        directory: The directory; it need not exist.
        begun: The fingerprints of the data that a run which goes on was begun with, by part.
        progress: Called now and then with how much has been encoded so far.
    """

    directory: Path
    begun: Mapping[str, str] | None = None
    progress: Callable[[int], None] | None = None

    def files(self) -> tuple[Path, ...]:
        """All that is kept there."""
        return tuple(sorted(path for path in self.directory.rglob("*") if path.is_file()))


@dataclass(frozen=True)
class Prepared:
    """A run that may begin.

    Attributes:
        model: Built on the CPU, with ``save_pretrained(directory, overwrite=…)``.
        task: What it is to learn.
        facts: Lines that say what the data is: how many examples, classes, bad rows skipped.
        fingerprint: By part of the data (what is learned from, what judges, the names of what the
            numbers mean): the same for the same content, and only then.
        report: How the model does on held-out data: those of a test part, else of validation;
            None where nothing is held out.
        unit: What a target is, in a word, such as "character".
        files: Encoded data that the run reads.
    """

    model: Any
    task: Task
    facts: tuple[str, ...]
    fingerprint: Mapping[str, str]
    report: Callable[[Any], Report] | None
    unit: str = "example"
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Kind:
    """One kind of task.

    Attributes:
        name: The word of the command: ``unrolled train <name>``.
        summary: What the command is for, in a few words.
        reads: What data may be, in a sentence or two.
        example: Data and options of a typical call.
        model: The model's class, with ``KIND`` and ``from_pretrained(directory, device)``.
        data: A dataclass of how data is read; each field has a default.
        config: A dataclass of what the model is built of.
        defaults: Fields of ``TrainConfig`` that start otherwise for this kind.
        prepare: From the data's words, the three configurations (``data``, ``config`` and
            ``TrainConfig``) and the cache to a run. The same arguments give the same; random
            numbers are drawn from generators of their own, but for the model's weights.
        evaluate: The report of a model on data.
        prediction: A dataclass of how predictions are made; it may have no field.
        predict: From the model, lines (without line ends) and a ``prediction`` to one object for
            each line, in order, as JSON can hold it; ``{"error": …}`` where a line can't be read.
        draw: From the model, what to begin with, how many tokens, the temperature and a seed to the
            pieces of a sample that is shown in training; None where the kind has none.
    """

    name: str
    summary: str
    reads: str
    example: str
    model: type[Any]
    data: type[Any]
    config: type[Any]
    defaults: Mapping[str, object]
    prepare: Callable[[Sequence[str], Any, Any, Any, Cache], Prepared]
    evaluate: Callable[[Any, Sequence[str], Any], Report]
    prediction: type[Any]
    predict: Callable[[Any, Iterable[str], Any], Iterator[dict[str, Any]]]
    draw: Callable[[Any, str, int, float, int], Iterator[str]] | None = None
