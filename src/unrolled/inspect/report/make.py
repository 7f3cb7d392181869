"""``report``: all instruments on one language model and one text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from torch import nn

from unrolled.errors import DataError
from unrolled.inspect.neurons import Property
from unrolled.inspect.report.parts.asked import Asked, Found, Progress
from unrolled.inspect.report.parts.gradients import (
    attribution_part,
    gradients_part,
    jacobians_part,
)
from unrolled.inspect.report.parts.structure import diagrams_part, equations_part
from unrolled.inspect.report.parts.text import gates_part, neurons_part
from unrolled.inspect.report.parts.training import health_part
from unrolled.inspect.report.report import Report
from unrolled.inspect.text import TextSample
from unrolled.inspect.watch import check_finite
from unrolled.models.language_model import LanguageModel

CHARACTERS = 2000
MOST = 100_000
"""What a page can show in a browser without delay, within 5 MB."""

PARTS: Mapping[str, Callable[[Asked], Found | None]] = {
    "neurons": neurons_part,
    "gates": gates_part,
    "gradients": gradients_part,
    "jacobians": jacobians_part,
    "attribution": attribution_part,
    "health": health_part,
    "equations": equations_part,
    "diagrams": diagrams_part,
}
"""The parts of a report in the page's order; one that has nothing to say gives None."""


def report(
    model: nn.Module,
    text: str,
    *,
    characters: int | None = None,
    position: int | None = None,
    parts: Sequence[str] | None = None,
    run: Path | None = None,
    properties: Mapping[str, Property] | None = None,
    name: str = "the model",
    source: str = "the text",
    progress: Progress | None = None,
) -> Report:
    """Looks at what a language model does on a text with all instruments.

    Args:
        model: A language model; in evaluation mode for the time.
        text: What it reads.
        characters: How many of the text's characters (or tokens) to take; by default the first
            2,000, or all of a shorter text.
        position: After which of them, counted from 1, the prediction is traced back to what it
            rests on; by default the last.
        parts: Those of :data:`PARTS` to look at; by default all that can be.
        run: The directory of the run that trained the model, for ``health``; without one, that
            part is left out.
        properties: Of the text, that units are compared with beside the usual ones; as in
            :func:`unrolled.inspect.neurons.neurons`.
        name: What the page calls the model.
        source: What the page calls the text.
        progress: Told what is being done, and which share of all is done, 0 to 1.

    Raises:
        TypeError: where it is no language model.
        ValueError: where a number is out of its range, there is no such part, or a property has
            another length than what is read.
        ModelError: where a parameter is no finite number.
        DataError: where the text is empty, shorter than asked, or unknown to the model.
        UserError: where matplotlib is not installed.
    """
    chosen = tuple(PARTS) if parts is None else tuple(parts)
    unknown = [part for part in chosen if part not in PARTS]
    if unknown or not chosen:
        raise ValueError(
            f"parts are some of {', '.join(PARTS)}, not {', '.join(unknown) or 'none'}"
        )
    if parts is not None and "health" in chosen and run is None:
        raise ValueError("the part health looks at a training run: give its directory as run=")
    if not isinstance(model, LanguageModel):
        raise TypeError(
            f"a report reads a text with a LanguageModel, this is a {type(model).__name__}: "
            "equations, gradient_flow, jacobians and gates look into any model"
        )
    if characters is not None and not 1 <= characters <= MOST:
        raise ValueError(f"characters is 1 to {MOST:,}, got {characters:,}")
    if position is not None and position < 1:
        raise ValueError(f"position is counted from 1, got {position}")
    check_finite(model)
    sample = TextSample.of(model, text, characters or CHARACTERS, characters or 1)
    if position is not None and position > len(sample):
        raise DataError(
            f"there is no {model.vocabulary.unit} {position:,}: {len(sample):,} of the text are "
            "read; name an earlier one or read more"
        )
    tell = _forward(progress or (lambda what, share: None))
    found: list[Found] = []
    for done, part in enumerate(chosen):

        def step(what: str, share: float, done: int = done) -> None:
            tell(what, (done + share) / len(chosen))

        step(part, 0.0)
        at = len(sample) if position is None else position
        made = PARTS[part](Asked(model, sample, at, run, properties or {}, step))
        if made is not None:
            found.append(made)
    tell("done", 1.0)
    return Report(
        f"What {name} remembers",
        f"{_about(model)}. Read: {source}, {len(sample):,} {model.vocabulary.unit}s.",
        tuple(each.section for each in found),
        next((each.text for each in found if each.text is not None), None),
        f"{sample.note[0].upper()}{sample.note[1:]}." if sample.note else "",
    )


def _forward(tell: Progress) -> Progress:
    """Never goes back where a part does several things one after the other."""
    reached = 0.0

    def forward(what: str, share: float) -> None:
        nonlocal reached
        reached = max(reached, share)
        tell(what, reached)

    return forward


def _about(model: LanguageModel) -> str:
    config = model.config
    layers = f"{config.num_layers} layer{'' if config.num_layers == 1 else 's'}"
    count = sum(p.numel() for p in model.parameters())
    return (
        f"A language model of {layers} of {config.hidden_size} units ({config.cell}), {count:,} "
        f"parameters, over {len(model.vocabulary):,} {model.vocabulary.unit}s"
    )
