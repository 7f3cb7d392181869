"""What a part of the report is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from unrolled.inspect.neurons import Property
from unrolled.inspect.report.section import Section
from unrolled.inspect.report.text_view import TextView
from unrolled.inspect.text import TextSample
from unrolled.models.language_model import LanguageModel

Progress = Callable[[str, float], None]


@dataclass(frozen=True, eq=False)
class Asked:
    """What a part of the report is given.

    Attributes:
        model: The model.
        sample: The text.
        position: After how many of its tokens the prediction is traced back.
        run: The directory of the run that trained the model, where there is one.
        properties: Those of the user's own that units are compared with, by name.
        progress: Told what is being done, and which share of the part is.
    """

    model: LanguageModel
    sample: TextSample
    position: int
    run: Path | None
    properties: Mapping[str, Property]
    progress: Progress


@dataclass(frozen=True, eq=False)
class Found:
    """What a part found: its section, and the text with its units from the one that has it."""

    section: Section
    text: TextView | None = None


def within(progress: Progress, start: float, end: float) -> Progress:
    """For what is done between two shares of a whole."""
    return lambda what, share: progress(what, start + (end - start) * share)


def joined(words: list[str]) -> str:
    """``a, b and c``."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
