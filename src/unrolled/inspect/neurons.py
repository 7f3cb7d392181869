"""``neurons``: every unit of a language model over a text, and which follow a property of it.

Units whose activation shows whether the text is inside quotes, how long a line has become, and the
like were found by Karpathy, Johnson and Fei-Fei ("Visualizing and understanding recurrent
networks", 2015), and looked for by hand in LSTMVis (Strobelt et al. 2018).  Here each unit is
ranked by how well it tells the property on one half of the text, and what is reported of it was
measured on the other half, with whether that is better than chance
(:mod:`unrolled.inspect.ranking`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from unrolled.inspect.expected import Expected, Expecting
from unrolled.inspect.properties import PROPERTIES
from unrolled.inspect.ranking import HalfScores, Measure, chance, scores
from unrolled.inspect.reading import LayerSteps, Progress, read_text
from unrolled.inspect.text import TextSample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Property = Callable[[str], ArrayLike] | ArrayLike
"""A function of the text, or values for each of its characters or tokens: masks or quantities."""


LEVEL = 0.01
"""Better than chance is what chance is as good as in no more than this share of the shifts."""


@dataclass(frozen=True)
class Unit:
    """One unit of a layer's state."""

    layer: str
    state: str
    index: int

    def __str__(self) -> str:
        return f"{self.layer} {self.state}[{self.index}]"


@dataclass(frozen=True)
class Found:
    """A unit, and how well it tells a property.

    Attributes:
        unit: The unit.
        sought: Its score on the first half of the text, by which it was ranked.
        held_out: Its score on the second half, which had no part in that; NaN where the property
            does not change there.
        sign: 1 where the unit is high where the property is, −1 where it is low there.
    """

    unit: Unit
    sought: float
    held_out: float
    sign: int


@dataclass(frozen=True, eq=False)
class Ranking:
    """All units by how well they tell a property of the text.

    Attributes:
        name: The property.
        values: For each token, bool or float64 ``[T]``.
        measure: What the scores are: ``AUC`` (0.5 is chance, 1 perfect) or ``Spearman``
            (0 and 1); both turned by the sign, so that on the first half more is better.
        units: The best first; none where the property can't be ranked.
        note: Why it can't be, else empty.
    """

    name: str
    values: Tensor
    measure: Measure
    units: tuple[Found, ...]
    note: str


@dataclass(frozen=True, eq=False)
class Neurons:
    """The states of all layers over a text, units ranked, and what the model expected.

    Attributes:
        sample: The text.
        states: By layer and state, float ``[T, units]`` on the CPU: after each token.
        rankings: By property.
        expected: What the model expected after each token.
    """

    sample: TextSample
    states: Mapping[tuple[str, str], Tensor]
    rankings: Mapping[str, Ranking]
    expected: Expected

    def values(self, unit: Unit) -> Tensor:
        """A unit's activation after each token ``[T]``."""
        return self.states[unit.layer, unit.state][:, unit.index]

    def p_value(self, ranking: Ranking, found: Found) -> float:
        """How often a unit's score on the second half is reached by chance.

        That is the share of all circular shifts of the property over the second half
        (:func:`unrolled.inspect.ranking.chance`); up to :data:`LEVEL` it is better than chance.
        NaN where there is no such score.
        """
        if math.isnan(found.held_out):
            return math.nan
        second = slice(len(ranking.values) // 2, None)
        return chance(self.values(found.unit)[second], ranking.values[second], found.sign)

    def table(self, best: int = 1) -> list[dict[str, str | int | float]]:
        """The best units of each property that was ranked, a row each."""
        return [
            {
                "property": r.name,
                "unit": str(found.unit),
                "measure": r.measure,
                "first half": found.sought,
                "second half": found.held_out,
                "sign": found.sign,
                "p-value": p,
                "better than chance": p <= LEVEL,
            }
            for r in self.rankings.values()
            for found in r.units[:best]
            for p in [self.p_value(r, found)]
        ]

    def __str__(self) -> str:
        """What was found, in words."""
        lines: list[str] = []
        for r in self.rankings.values():
            if not r.units:
                lines.append(f"{r.name}: {r.note}")
                continue
            top = r.units[0]
            follows = "high" if r.measure == "AUC" else "rises with it"
            against = "low" if r.measure == "AUC" else "falls with it"
            which = follows if top.sign > 0 else against
            held = f"{top.held_out:.3f} on the second half of the text, held out"
            p = self.p_value(r, top)
            verdict = f"{'' if p <= LEVEL else 'no '}better than chance (p = {p:.2g})"
            known = not math.isnan(p)
            lines.append(
                f"{r.name}: {top.unit}, {which}: {r.measure} {held if known else r.note} "
                f"({top.sought:.3f} on the first, by which it was found)"
                f"{f'; {verdict}' if known else ''}"
            )
        return "\n".join(lines)

    def plot(self, picture: str = "heat map", unit: Unit | None = None) -> Figure:
        """A picture of what was seen.

        Args:
            picture: ``heat map`` (the states over the text) or ``text`` (coloured by a unit).
            unit: The unit for ``text``: by default the one with the best held-out score.

        Raises:
            ValueError: where there is no such picture or unit.
            UserError: where matplotlib is not installed.
        """
        from unrolled.inspect.pictures import neurons as pictures

        if unit is not None:
            size = self.states.get((unit.layer, unit.state), torch.empty(0, 0)).shape[1]
            if not 0 <= unit.index < size:
                raise ValueError(f"there is no unit {unit}")
        match picture:
            case "heat map":
                return pictures.states_over_text(self)
            case "text":
                return pictures.coloured_text(self, unit or self.best())
            case _:
                raise ValueError(f"expected heat map or text, got {picture!r}")

    def best(self) -> Unit:
        """The unit with the best score on held-out text; the first where none is known."""
        known = [
            (2 * f.held_out - 1 if r.measure == "AUC" else f.held_out, f.unit)
            for r in self.rankings.values()
            for f in r.units[:1]
            if not math.isnan(f.held_out)
        ]
        (layer, state), *_ = self.states
        return max(known, key=lambda k: k[0])[1] if known else Unit(layer, state, 0)


def neurons(
    model: nn.Module,
    text: str | TextSample,
    properties: Mapping[str, Property] | None = None,
    *,
    progress: Progress | None = None,
) -> Neurons:
    """Looks at every unit of a language model over a text.

    Args:
        model: A language model.
        text: The text; a :class:`TextSample` for a part of it.
        properties: Beside those of :data:`unrolled.inspect.properties.PROPERTIES`, properties of
            one's own by name: a function of the text, or values, of each character or of each
            token. What is bool is a mask, other numbers are a quantity. A token of several
            characters has the value of its last.
        progress: Told what is done and how far.

    Raises:
        TypeError: where the model reads no text.
        DataError: where the text can't be read.
        ModelError: where a parameter is no finite number.
        ValueError: where a property has another length, another shape, or a value that is not
            finite.
    """
    sample = TextSample.of(model, text) if isinstance(text, str) else text
    targets = {
        name: _target(name, given, sample)
        for name, given in {**PROPERTIES, **(properties or {})}.items()
    }
    expecting = Expecting(sample)
    layers = read_text(model, sample, look=expecting.look, progress=progress)
    states = {(layer.name, state): v for layer in layers for state, v in layer.states.items()}
    return Neurons(sample, states, _rankings(layers, targets, progress), expecting.done())


def _target(name: str, given: Property, sample: TextSample) -> Tensor:
    """A property's value for each token: bool or float64 ``[T]``."""
    raw = np.asarray(given(sample.text) if callable(given) else given)
    if raw.ndim != 1 or raw.dtype.kind not in "buif":
        raise ValueError(
            f"the property {name!r} is a list of truth values or numbers, one for each character, "
            f"not {raw.dtype} of shape {list(raw.shape)}"
        )
    n, characters = len(sample), len(sample.text)
    if len(raw) not in (n, characters):
        either = f"{characters} characters" + (f" and {n} tokens" if n != characters else "")
        raise ValueError(f"the property {name!r} has {len(raw)} values, the text has {either}")
    values = torch.from_numpy(raw if raw.dtype == bool else raw.astype(np.float64))
    if not bool(values.isfinite().all()):
        raise ValueError(f"the property {name!r} has values that are not finite")
    return values if len(raw) == n else values[sample.places]


def _rankings(
    layers: Sequence[LayerSteps], targets: Mapping[str, Tensor], progress: Progress | None
) -> dict[str, Ranking]:
    parts = [(layer.name, s, v) for layer in layers for s, v in layer.states.items()]
    units = [Unit(layer, state, k) for layer, state, v in parts for k in range(v.shape[1])]
    values = torch.cat([v for *_, v in parts], 1)
    middle = len(values) // 2

    def half(part: slice, done: float) -> dict[str, HalfScores | None]:
        def tell(share: float) -> None:
            if progress is not None:
                progress("ranking units", done + share / 2)

        return scores(values[part], {k: t[part] for k, t in targets.items()}, tell)

    first, second = half(slice(middle), 0.0), half(slice(middle, None), 0.5)
    return {k: _ranking(k, t, units, first[k], second[k]) for k, t in targets.items()}


def _ranking(
    name: str,
    target: Tensor,
    units: Sequence[Unit],
    first: HalfScores | None,
    second: HalfScores | None,
) -> Ranking:
    measure: Measure = "AUC" if target.dtype == torch.bool else "Spearman"
    if first is None:
        note = "it never changes in the first half of the text, so no unit can be found by it"
        return Ranking(name, target, measure, (), note)
    strength = first.strength
    order = strength.abs().argsort(descending=True, stable=True).tolist()
    later = torch.full_like(strength, math.nan) if second is None else second.strength
    note = "" if second is not None else "it never changes in the second half: nothing is held out"
    sign = torch.where(strength < 0, -1.0, 1.0)
    shown = [_as_measured(s * sign, measure).tolist() for s in (strength, later)]
    return Ranking(
        name,
        target,
        measure,
        tuple(Found(units[k], shown[0][k], shown[1][k], int(sign[k])) for k in order),
        note,
    )


def _as_measured(strength: Tensor, measure: Measure) -> Tensor:
    return (strength + 1) / 2 if measure == "AUC" else strength
