"""The kinds of tasks by the word that the commands use."""

from __future__ import annotations

from importlib import import_module

from unrolled.errors import UserError
from unrolled.tasks.kind import Kind

# A module is imported when it is asked for.
KINDS: dict[str, str] = {"lm": "unrolled.tasks.language_model"}


def kind_called(name: str) -> Kind:
    """The kind of task called ``name``.

    Raises:
        UserError: where there is none.
    """
    if name not in KINDS:
        raise UserError(f"there is no kind of task {name!r}: there are {', '.join(KINDS)}")
    return import_module(KINDS[name]).KIND
