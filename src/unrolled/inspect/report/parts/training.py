"""The part about the run that trained the model."""

from __future__ import annotations

from collections.abc import Sequence

from unrolled.inspect.course import Line
from unrolled.inspect.health import Verdict, health
from unrolled.inspect.report.parts.asked import Asked, Found
from unrolled.inspect.report.section import Picture, Section, Table, Tone, in_words

_TONES: dict[Verdict, Tone] = {
    "Healthy": "good",
    "Worth a look": "warning",
    "Too few lines to say": "plain",
}


def health_part(asked: Asked) -> Found | None:
    """How the training went, and what to try; nothing where there is no run."""
    if asked.run is None:
        return None
    found = health(asked.run, asked.model, asked.sample.fed.to(asked.model.device))
    went = _went(found.course.finite())
    first = f" {found.advice[0].text}" if found.advice else ""
    more = len(found.advice) - 1
    return Found(
        Section(
            "health",
            "Training health",
            f"{went}{first}" + (f" There is more to try ({more}), below." if more > 0 else ""),
            verdict=found.verdict,
            tone=_TONES[found.verdict],
            pictures=(
                Picture(
                    "health",
                    found.plot(),
                    "The run over its steps: loss, gradient norm before and after clipping, how "
                    "often it clipped, and how large an update is beside the weights.",
                ),
            ),
            tables=(Table.of("The run in figures, and its units on this text", found.table()),),
            notes=tuple(advice.text for advice in found.advice[1:]),
        )
    )


def _went(lines: Sequence[Line]) -> str:
    if not lines:
        return "The training loss was never a number."
    first, last = in_words(lines[0].loss), in_words(lines[-1].loss)
    if len(lines) == 1:
        return f"At step {lines[0].step:,} the training loss was {first}."
    return f"In {lines[-1].step:,} steps the training loss went from {first} to {last}."
