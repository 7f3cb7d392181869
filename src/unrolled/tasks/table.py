"""The kinds of tasks by the word that the commands use, and by the sort of a saved model."""

from __future__ import annotations

import difflib
import os
from importlib import import_module

from unrolled.errors import UserError
from unrolled.models.loading import kind_of
from unrolled.tasks.kind import Kind

# A module is imported when it is asked for.
KINDS: dict[str, str] = {
    "lm": "unrolled.tasks.language_model",
    "classify": "unrolled.tasks.classify",
    "tag": "unrolled.tasks.tag",
    "translate": "unrolled.tasks.translate",
    "generate": "unrolled.tasks.generate",
    "forecast": "unrolled.tasks.forecast",
}

# By what config.json says that a model is.
_OF_MODELS = {
    "language model": "lm",
    "classifier": "classify",
    "tagger": "tag",
    "sequence to sequence model": "translate",
    "generator": "generate",
    "forecaster": "forecast",
}


def kind_called(name: str) -> Kind:
    """The kind of task called ``name``.

    Raises:
        UserError: where there is none.
    """
    if name not in KINDS:
        close = difflib.get_close_matches(name, KINDS, 1)
        advice = f"did you mean {close[0]}?" if close else f"there are {', '.join(KINDS)}"
        raise UserError(f"there is no kind of task {name!r}: {advice}")
    return import_module(KINDS[name]).KIND


def kind_of_model(directory: str | os.PathLike[str]) -> Kind:
    """The kind of task that the model in ``directory`` is for.

    Raises:
        ModelError: where there is no model, or none of Unrolled.
    """
    return kind_called(_OF_MODELS[kind_of(directory)])
