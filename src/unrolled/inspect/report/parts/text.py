"""The parts that follow the model through the text: its units and its gates."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from unrolled.data.vocabulary import Vocabulary
from unrolled.inspect.gates import Gates, GateSeen, gateless, gates
from unrolled.inspect.neurons import LEVEL, Neurons, Ranking, neurons
from unrolled.inspect.neurons import Found as FoundUnit
from unrolled.inspect.report.parts.asked import Asked, Found, joined
from unrolled.inspect.report.section import Picture, Section, Table, in_sentence, percent
from unrolled.inspect.report.text_view import RankedUnit, StateView, TextView

# How many units of each property the reader is offered.
_BEST = 4
# Of what a score can be beyond chance, up to 1: better than chance, yet weak below it.
_WEAK = 0.5
# The share of the time from which open and shut gates are spoken of.
_OFTEN = 0.1
# Properties that the last character alone does not show.
_REMEMBERED = (
    "inside quotes", "inside single quotes", "inside brackets", "bracket depth", "position in line",
)  # fmt: skip
_NONE = "No property of the text changes in both of its halves, so no unit could be judged."


def neurons_part(asked: Asked) -> Found:
    """The text with all units, and those that follow a property of it."""
    seen = neurons(asked.model, asked.sample, asked.properties, progress=asked.progress)
    unit = asked.model.vocabulary.unit
    bits = float(seen.expected.surprise.nanmean())
    missing = [f"“{r.name}”: {r.note}" for r in seen.rankings.values() if r.note]
    notes = [
        "Units are ranked on the first half of the text, which also fixes their sign; what is said "
        "of them was measured on the second half. AUC is the probability that a unit is higher "
        "(sign 1) or lower (sign −1) where the property holds than where it does not: 0.5 is "
        "chance, 1 is perfect, and below 0.5 the halves contradict each other. Spearman's rank "
        "correlation, times the sign, is for properties that are numbers: 0 is chance, 1 is "
        "perfect, and below 0 the halves contradict each other.",
        "Better than chance: the property is shifted in a circle over the second half, by each of "
        f"its {_held_out(seen):,} {unit}s in turn, which leaves its runs as long as they are. The "
        "p-value is the share of the shifts at which the unit tells it as well as it does "
        f"unshifted; better than chance is a share of no more than {percent(LEVEL)}. Of a hundred "
        "properties that no unit follows about one passes.",
    ]
    if missing:
        notes.append(f"Not all properties could be ranked or measured. {'; '.join(missing)}.")
    top = _top(seen, tuple(asked.properties))
    section = Section(
        "neurons",
        "Units over the text",
        f"{follows(*top) if top else _nothing(seen, unit)} The text takes the model {bits:.2f} "
        f"bits a {unit}.",
        pictures=(
            Picture("states", seen.plot("heat map"), "The states over the text, unit by unit."),
        ),
        tables=(Table.of("The best unit of each property", [*seen.table()]),),
        notes=tuple(notes),
    )
    return Found(section, text_view(seen, asked.model.vocabulary, top[0].name if top else None))


def _top(seen: Neurons, own: Sequence[str]) -> tuple[Ranking, FoundUnit] | None:
    """The property that a unit follows best: of the user's own, or of those that take memory."""
    known = [
        (r, f) for r in seen.rankings.values() for f in r.units[:1] if seen.p_value(r, f) <= LEVEL
    ]
    chosen = (
        [k for k in known if k[0].name in own]
        or [k for k in known if k[0].name in _REMEMBERED]
        or known
    )
    return max(chosen, key=lambda k: _beyond_chance(*k), default=None)


def _held_out(seen: Neurons) -> int:
    """How many tokens the second half has."""
    return len(seen.sample) - len(seen.sample) // 2


def _nothing(seen: Neurons, unit: str) -> str:
    """Why no unit is named."""
    if all(math.isnan(f.held_out) for r in seen.rankings.values() for f in r.units[:1]):
        return _NONE
    least = math.ceil(1 / LEVEL)
    if _held_out(seen) < least:
        return (
            "The text is too short to tell whether a unit follows any property of it better than "
            f"chance: that takes {2 * least} {unit}s."
        )
    return "No unit follows any property of this text better than chance."


def _beyond_chance(ranking: Ranking, found: FoundUnit) -> float:
    return 2 * found.held_out - 1 if ranking.measure == "AUC" else found.held_out


def follows(ranking: Ranking, found: FoundUnit) -> str:
    """How a unit follows a property, as a sentence."""
    if ranking.measure == "AUC":
        how = f"is {'high' if found.sign > 0 else 'low'} there"
    else:
        how = f"{'rises' if found.sign > 0 else 'falls'} with it"
    unit = found.unit
    weakly = "" if _beyond_chance(ranking, found) >= _WEAK else "weakly, but "
    return (
        f"Unit {unit.index} of {unit.state} in {unit.layer} follows “{ranking.name}” {weakly}best "
        f"of all (it {how}): {_score(ranking, found)}."
    )


def _score(ranking: Ranking, found: FoundUnit) -> str:
    if not math.isnan(found.held_out):
        return f"{ranking.measure} {found.held_out:.2f}"
    return f"{ranking.measure} {found.sought:.2f} where sought"


def text_view(seen: Neurons, vocabulary: Vocabulary, first: str | None) -> TextView:
    """What the reader of the page picks units in, beginning with those of one property."""
    rankings = sorted(seen.rankings.values(), key=lambda r: r.name != first)
    return TextView(
        tokens=seen.sample.pieces,
        ids=seen.sample.tokens,
        unit=vocabulary.unit,
        vocabulary=_shown(vocabulary),
        expected=seen.expected.tokens,
        chances=seen.expected.probabilities,
        came=torch.exp2(-seen.expected.surprise[1:]),
        states=[StateView(layer, state, v) for (layer, state), v in seen.states.items()],
        ranked={
            r.name: tuple(
                RankedUnit(f.unit.layer, f.unit.state, f.unit.index, _score(r, f))
                for f in r.units[:_BEST]
            )
            for r in rankings
            if r.units
        },
        masks={r.name: r.values for r in rankings if r.values.dtype == torch.bool},
    )


def _shown(vocabulary: Vocabulary) -> list[str]:
    """Tokens as a reader knows them: a byte that is a character of ASCII is that character."""
    if vocabulary.kind != "byte":
        return list(vocabulary.tokens)
    return [chr(i) if i < 128 else token for i, token in enumerate(vocabulary.tokens)]


def gates_part(asked: Asked) -> Found:
    """How far the gates are open, and how long the states last."""
    seen = gates(asked.model, asked.sample, progress=asked.progress)
    pictures: list[Picture] = []
    if seen.gates:
        pictures += [
            Picture("gates", seen.plot("histograms"), "How often each gate is how far open."),
            Picture(
                "saturation",
                seen.plot("saturation"),
                "How often each unit’s gate is saturated: a dot a unit, shut (below 0.1) to the "
                "right, open (above 0.9) to the top.",
            ),
            Picture("gates-over-text", seen.plot("heat map"), "The gates over the text."),
        ]
    if seen.kept:
        caption = "How many units of each state last how long."
        pictures.append(Picture("time-constants", seen.plot("time constants"), caption))
    tables = [
        Table.of("Gates, over all units and steps", [*seen.table()]),
        Table.of("Time constants, in steps", [*seen.time_constants()]),
    ]
    return Found(
        Section(
            "gates",
            "Gates",
            _lasting(seen, asked.model.vocabulary.unit),
            pictures=tuple(pictures),
            tables=tuple(table for table in tables if table.rows),
            notes=(
                "A gate below 0.1 is shut, one above 0.9 is open (saturated, after Karpathy et al. "
                "2015). A state that keeps the share f of itself at each step has the time "
                "constant −1/ln f, with the mean of ln f over the steps: after so many steps 1/e, "
                "37 %, of it is left.",
            ),
        )
    )


def _lasting(seen: Gates, unit: str) -> str:
    lasting = [
        f"{_spans(row['median'], unit)} in {row['state']} of {row['layer']} (the longest "
        f"{in_sentence(row['longest'])})"
        for row in seen.time_constants()
    ]
    words = [f"A typical unit keeps what it holds for {joined(lasting)}."] if lasting else []
    by_words: dict[str, list[str]] = {}
    for layer, states in seen.without.items():
        by_words.setdefault(gateless(states), []).append(layer)
    words += [f"{joined(layers)}: {said}." for said, layers in by_words.items()]
    return " ".join([*words, _open_or_shut(seen.gates)] if seen.gates else words)


def _spans(steps: object, unit: str) -> str:
    shown = in_sentence(steps)
    return f"{shown} {unit}{'' if shown == '1' else 's'}"


def _open_or_shut(seen: Sequence[GateSeen]) -> str:
    """Which gates are most often open and shut; what is seldom so is no finding."""
    open_ = max(seen, key=lambda gate: float(gate.high.mean()))
    shut = max(seen, key=lambda gate: float(gate.low.mean()))
    opened, closed = float(open_.high.mean()), float(shut.low.mean())
    often = percent(_OFTEN)
    if max(opened, closed) < _OFTEN:
        return f"No gate is open, and none shut, for {often} of the time."
    said_open = f"most often open is {open_.name} of {open_.layer} ({percent(opened)} of the time)"
    said_shut = f"most often shut is {shut.name} of {shut.layer} ({percent(closed)} of the time)"
    if closed < _OFTEN:
        words = f"{said_open}; none is shut for {often} of the time"
    elif opened < _OFTEN:
        words = f"{said_shut}; none is open for {often} of the time"
    else:
        words = f"{said_open}, {said_shut}"
    return f"Of the gates, {words}."
