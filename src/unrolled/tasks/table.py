"""The kinds of tasks by name, and by the sort of a model; each imported when it is asked for."""

from __future__ import annotations

import difflib
import os
from importlib import import_module

from unrolled.errors import ModelError, UserError
from unrolled.models.loading import kind_of
from unrolled.tasks.kind import Kind

KINDS: dict[str, tuple[str, str]] = {
    "lm": ("unrolled.tasks.language_model", "language model"),
    "classify": ("unrolled.tasks.classify", "classifier"),
    "tag": ("unrolled.tasks.tag", "tagger"),
    "translate": ("unrolled.tasks.translate", "encoder-decoder"),
    "generate": ("unrolled.tasks.generate", "generator"),
    "forecast": ("unrolled.tasks.forecast", "forecaster"),
}
"""By the word of the command: the module that has the ``KIND``, and the sort of its models."""


def find(name: str) -> Kind:
    """The kind of task called ``name``.

    Raises:
        UserError: where there is none.
    """
    if name not in KINDS:
        close = difflib.get_close_matches(name, KINDS, 1)
        advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(KINDS)}"
        raise UserError(f"there is no kind of task {name!r}: {advice}")
    module, _ = KINDS[name]
    return import_module(module).KIND


def of_model(directory: str | os.PathLike[str]) -> Kind:
    """The kind of task that the model in ``directory`` is for.

    Raises:
        ModelError: where there is no model, or none of Unrolled.
    """
    sort = kind_of(directory)
    for name, (_, made) in KINDS.items():
        if made == sort:
            return find(name)
    raise ModelError(f"{directory} holds a {sort}, which no task is for")
