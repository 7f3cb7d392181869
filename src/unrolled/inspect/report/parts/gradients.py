"""The parts about gradients: how far they flow, what a step does, what a prediction rests on."""

from __future__ import annotations

import math

from unrolled.inspect.attribution import WINDOW, attribution
from unrolled.inspect.gradient_flow import STEPS, GradientFlow, LayerFlow, gradient_flow
from unrolled.inspect.jacobians import Jacobians, jacobians
from unrolled.inspect.lyapunov import Lyapunov, lyapunov
from unrolled.inspect.numerals import numeral
from unrolled.inspect.report.parts.asked import Asked, Found, joined, within
from unrolled.inspect.report.section import Picture, Section, Table, Tone, percent
from unrolled.inspect.spectral import spectral_radius

_TONES: dict[str, Tone] = {"healthy": "good", "vanishing": "warning", "exploding": "warning"}
_LEAST = 5
# How many steps Lyapunov exponents take.
_WALKED = 20
# How many contributions are listed.
_SHOWN = 12


def gradients_part(asked: Asked) -> Found:
    """The norm of the gradient over the distance, with its verdict."""
    if len(asked.sample) < _LEAST:
        return _too_short("gradients", "Gradient flow", asked)
    flow = gradient_flow(asked.model, asked.sample.text, progress=asked.progress)
    verdicts = [layer.decay.verdict for layer in flow.layers]
    worst = next(
        (v for v in ("exploding", "vanishing", "unclear", "unknown") if v in verdicts), verdicts[0]
    )
    steps = min(STEPS, len(asked.sample) - 1)
    return Found(
        Section(
            "gradients",
            "Gradient flow",
            _horizons(flow, asked.model.vocabulary.unit),
            verdict=_verdict(flow.layers),
            tone=_TONES.get(worst, "plain"),
            pictures=(
                Picture(
                    "gradient-flow",
                    flow.plot(),
                    "How large the gradient of the loss is at a state so many steps before it: "
                    "the mean over sequences, with a band for the middle 80 % of them.",
                ),
            ),
            tables=(Table.of("The verdict, layer by layer, and its reason", flow.table()),),
            notes=(
                f"Measured on {flow.sequences} stretch{'es' * (flow.sequences > 1)} of the text of "
                f"{steps} steps: the derivative of the loss at the end by each state before it, by "
                "the backward pass that training uses. The verdict is about the part that falls "
                "slowest; that most of the gradient fades is as it should be.",
            ),
        )
    )


def _verdict(layers: tuple[LayerFlow, ...]) -> str:
    """One for all layers, or that of each where they differ."""
    names: dict[str, list[str]] = {}
    for layer in layers:
        names.setdefault(layer.decay.verdict, []).append(layer.name)
    if len(names) == 1:
        return layers[0].decay.verdict.capitalize()
    told = "; ".join(f"{verdict} in {joined(where)}" for verdict, where in names.items())
    return told[:1].upper() + told[1:]


def _horizons(flow: GradientFlow, unit: str) -> str:
    def reach(layer: LayerFlow) -> str:
        found = layer.decay
        if found.verdict == "unknown":
            return f"an unknown number of {unit}s"
        n = found.horizon or found.steps
        beyond = "more than " if found.horizon is None else ""
        return f"{beyond}{n} {unit}{'s' * (n != 1)}"

    layers = [f"{reach(f)} in {f.name}" for f in flow.layers]
    words = f"1 % of the gradient is left after {joined(layers)}"
    if flow.initial:
        words += f"; at initialisation after {joined([reach(f) for f in flow.initial])}"
    unclear = [f for f in flow.layers if f.decay.verdict == "unclear"]
    for f in unclear:
        words += f". In {f.name} it is {f.decay.reason.partition(':')[0]}"
    n = flow.sequences
    rests = f"This rests on {n} sequence{'s' * (n > 1)}"
    rests += ", which tells nothing of how others differ" if n == 1 else ""
    return f"{words}. {rests}."


def jacobians_part(asked: Asked) -> Found:
    """What one step does to small differences: singular values, exponents, spectral radii."""
    text, model = asked.sample.text, asked.model
    steps = jacobians(model, text, progress=within(asked.progress, 0.0, 0.5))
    walked = len(asked.sample.fed) >= _WALKED
    spectrum = (
        lyapunov(model, text, progress=within(asked.progress, 0.5, 1.0)) if walked else Lyapunov(())
    )
    radii = spectral_radius(model, text)
    tables = [
        Table.of("Singular values of ∂(states at t)/∂(states at t − 1)", steps.table()),
        Table.of("Lyapunov exponents, a step", spectrum.table()),
        Table.of("Recurrent matrices", radii.table()),
    ]
    pictures = [
        Picture(
            "jacobians",
            steps.plot(),
            "By which factors a step stretches or shrinks small differences of the state, along "
            "the text.",
        )
    ]
    if walked:
        pictures.append(
            Picture(
                "lyapunov",
                spectrum.plot(),
                "The Lyapunov exponents: how fast differences grow (above 0) or fade (below 0) on "
                "the average of many steps.",
            )
        )
    return Found(
        Section(
            "jacobians",
            "One step, magnified",
            _exponents(spectrum) if walked else _one_step(steps),
            pictures=tuple(pictures),
            tables=tuple(table for table in tables if table.rows),
            notes=(
                "A gradient that flows back through a step is multiplied by the step’s Jacobian. "
                "Its singular values bound what one step can do; the Lyapunov exponents (by QR, "
                "Engelken, Wolf and Abbott 2023) say what many steps do.",
            ),
        )
    )


def _exponents(spectrum: Lyapunov) -> str:
    told = [f"in {layer.name} {layer.reason}" for layer in spectrum.layers]
    return f"What becomes of a small difference of the states: {'; '.join(told)}."


def _one_step(steps: Jacobians) -> str:
    told = [f"in {row['layer']} at most {numeral(row['largest'])} times" for row in steps.table()]
    return (
        f"A step stretches small differences of the states {joined(told)}. Lyapunov exponents take "
        f"{_WALKED} steps, which the text has not."
    )


def attribution_part(asked: Asked) -> Found:
    """What the prediction at a place rests on."""
    found = attribution(
        asked.model, asked.sample.text, asked.position, progress=within(asked.progress, 0.0, 0.9)
    )
    width = len(found.pieces)
    plain = attribution(
        asked.model, asked.sample.text, asked.position,
        method="gradient_times_input", window=width,
    )  # fmt: skip
    unit = asked.model.vocabulary.unit
    row = found.table()[0]
    weighs = _shown(row["token"])
    likelier = "likelier" if row["contribution"] > 0 else "less likely"
    back = asked.position + 1 - int(row["position"])
    return Found(
        Section(
            "attribution",
            "What a prediction rests on",
            f"After {asked.position:,} {unit}{'s' * (asked.position > 1)} the model expects "
            f"{_shown(found.target)} ({percent(math.exp(found.output))}). "
            f"{weighs[:1].upper()}{weighs[1:]}, {back} {unit}{'s' * (back > 1)} before it, "
            f"weighs most: it makes that {likelier}, by {numeral(abs(row['contribution']))} nats.",
            pictures=(
                Picture(
                    "integrated-gradients",
                    found.plot(),
                    "The text before the prediction, each token by how much likelier or less "
                    "likely it makes it: integrated gradients.",
                ),
                Picture("gradient-times-input", plain.plot(), "The same by gradient × input."),
            ),
            tables=(
                Table.of(
                    "The largest contributions, in nats",
                    [{**r, "token": _shown(r["token"])} for r in found.table()[:_SHOWN]],
                ),
            ),
            notes=(
                f"Integrated gradients (Sundararajan et al. 2017) at {found.points} points of the "
                "line from no input to the text: the contributions add up to the change of the "
                f"log-probability, {numeral(found.output - found.baseline)} nats, but for "
                f"{numeral(abs(found.error), 2)}.",
                *_narrowed(width, min(WINDOW, asked.position), unit),
            ),
        )
    )


def _narrowed(width: int, wanted: int, unit: str) -> tuple[str, ...]:
    """Why fewer tokens than usual get a part, where they do."""
    if width == wanted:
        return ()
    return (
        f"Only the last {width} {unit}s get a part; those before them are read as they are. With "
        f"{2 * width} the contributions do not add up: between no input and the text the network "
        "is chaotic, and its prediction jumps too often along the line.",
    )


def _shown(token: str) -> str:
    return {" ": "a space", "\n": "a line end", "\t": "a tab"}.get(token, f"“{token}”")


def _too_short(name: str, title: str, asked: Asked) -> Found:
    unit = asked.model.vocabulary.unit
    return Found(
        Section(name, title, f"The text is too short: it takes {_LEAST} {unit}s to say anything.")
    )
