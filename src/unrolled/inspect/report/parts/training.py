"""The part about the run that trained the model."""

from __future__ import annotations

from unrolled.inspect.health import health
from unrolled.inspect.report.parts.asked import Asked, Found
from unrolled.inspect.report.section import Picture, Section, Table, in_words


def health_part(asked: Asked) -> Found | None:
    """How the training went, and what to try; nothing where there is no run."""
    if asked.run is None:
        return None
    found = health(asked.run, asked.model, asked.sample.fed.to(asked.model.device))
    lines = found.course.finite()
    went = (
        f"In {lines[-1].step:,} steps the training loss went from {in_words(lines[0].loss)} to "
        f"{in_words(lines[-1].loss)}."
        if lines
        else "The training loss was never a number."
    )
    first = f" {found.advice[0].text}" if found.advice else ""
    more = len(found.advice) - 1
    return Found(
        Section(
            "health",
            "Training health",
            f"{went}{first}" + (f" There is more to try ({more}), below." if more > 0 else ""),
            verdict="Worth a look" if found.advice else "Healthy",
            tone="warning" if found.advice else "good",
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
