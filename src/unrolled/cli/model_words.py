"""Commands whose options depend on the model: it is the first of their words."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from unrolled.errors import ModelError, UserError
from unrolled.models.loading import kind_of

_HELP = ("-h", "--help")


def first_word(command: str, words: Sequence[str]) -> str | None:
    """The model's directory; None where help is asked for before it.

    Raises:
        UserError: where the first word is no directory.
    """
    if words[:1] and words[0] in _HELP:
        return None
    if not words or words[0].startswith("-"):
        raise UserError(
            f"name the model's directory first: unrolled {command} MODEL …; see unrolled {command} "
            "--help"
        )
    return words[0]


def refuse_others(directory: str | os.PathLike[str], command: str, kinds: Collection[str]) -> None:
    """Says what a command takes, where ``directory`` holds another sort of model.

    Raises:
        ModelError: where it is none of ``kinds``, or no model at all.
    """
    kind = kind_of(directory)
    if kind not in kinds:
        takes = " or ".join(f"a {name}" for name in kinds)
        raise ModelError(
            f"unrolled {command} takes {takes}, and {directory} holds a {kind}: try unrolled eval, "
            "unrolled predict or unrolled info"
        )
