"""The text as the page shows it: tokens, what a unit was at each, and what was expected next.

All goes into the page as bytes.  A unit's activations are whole numbers from −127 to 127 times its
own largest size over 127, so that the error is below 0.4 % of it; a probability p is kept as its
root in steps of 1/255, since small ones need finer steps, with an error below 0.4 points.  Where
the units are too many for the page, those that a property ranks come first, then those that vary
most.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# What the text, predictions and activations may take, in bytes; base64 makes 4 of 3.
MOST_BYTES = 2_600_000
_STEPS, _ROOTS = 127, 255


@dataclass(frozen=True, eq=False)
class StateView:
    """One state of one layer over the text.

    Attributes:
        layer: The layer's name, such as ``recurrent l0``.
        state: The state's name in the cell.
        values: Its units after each token, float ``[T, S]``.
    """

    layer: str
    state: str
    values: Tensor


@dataclass(frozen=True)
class RankedUnit:
    """A unit that tells a property of the text.

    Attributes:
        layer: Its layer's name.
        state: Its state's name.
        unit: Which unit, from 0.
        score: How well it does, in words, such as "AUC 0.93".
    """

    layer: str
    state: str
    unit: int
    score: str


@dataclass(frozen=True, eq=False)
class TextView:
    """A text, what was expected after each token, and all states.

    Attributes:
        tokens: Each token as it is to be shown ``[T]``.
        ids: Their ids in the vocabulary, int64 ``[T]``.
        unit: What a token is, such as "character".
        vocabulary: The tokens that can be expected, as they are to be shown.
        expected: The likeliest next tokens after each token, ids ``[T, K]``, the likeliest first.
        chances: Their probabilities ``[T, K]``.
        came: The probability of the token that did come next ``[T - 1]``.
        states: The states.
        ranked: Units by the property that they tell, the best first.
        masks: Where a property holds, bool ``[T]``, for those that hold or don't.
    """

    tokens: Sequence[str]
    ids: Tensor
    unit: str
    vocabulary: Sequence[str]
    expected: Tensor
    chances: Tensor
    came: Tensor
    states: Sequence[StateView]
    ranked: Mapping[str, tuple[RankedUnit, ...]]
    masks: Mapping[str, Tensor]

    def payload(self, most_bytes: int = MOST_BYTES) -> dict[str, object]:
        """What the page's script reads, as JSON can hold it."""
        shown = list(dict.fromkeys([*self.tokens, *self.vocabulary]))
        place = {token: i for i, token in enumerate(shown)}
        expected = np.array([place[token] for token in self.vocabulary])[self.expected.numpy()]
        width = next(width for width in (1, 2, 4) if len(shown) <= 256**width)
        steps, choices = self.expected.shape
        kept = self._kept(most_bytes // steps - (width + 1) * (choices + 1) - 1)
        return {
            "unit": self.unit,
            "tokens": shown,
            "width": width,
            "text": _packed([place[token] for token in self.tokens], f"<u{width}"),
            "expected": _packed(expected, f"<u{width}"),
            "choices": choices,
            "chances": _packed(_root(self.chances), "u1"),
            "came": _packed(_root(self.came), "u1"),
            # Where among the expected what came next stands; behind them where it was not expected.
            "ranks": _packed(self._ranks(), "u1"),
            "states": [_state(view, units) for view, units in zip(self.states, kept, strict=True)],
            "ranked": [
                {
                    "property": name,
                    "mask": self._mask(name),
                    "units": [self._button(unit) for unit in units],
                }
                for name, units in self.ranked.items()
            ],
        }

    def _ranks(self) -> Tensor:
        hit = self.expected[:-1] == self.ids[1:].unsqueeze(1)
        behind = torch.ones(len(hit), 1, dtype=torch.bool)
        return torch.cat([hit, behind], 1).int().argmax(1)

    def _button(self, ranked: RankedUnit) -> dict[str, object]:
        return {"state": self._index(ranked), "unit": ranked.unit, "score": ranked.score}

    def _mask(self, name: str) -> str | None:
        mask = self.masks.get(name)
        return None if mask is None else _packed(np.packbits(mask.numpy()), "u1")

    def _index(self, ranked: RankedUnit) -> int:
        places = [(view.layer, view.state) for view in self.states]
        return places.index((ranked.layer, ranked.state))

    def _kept(self, room: int) -> list[list[int]]:
        """The units of each state that go into the page, in order: as many as there is room for."""
        sizes = [int(view.values.shape[1]) for view in self.states]
        if sum(sizes) <= room:
            return [list(range(size)) for size in sizes]
        first = [(self._index(u), u.unit) for units in self.ranked.values() for u in units]
        spread = torch.cat([view.values.float().std(0, correction=0) for view in self.states])
        owners = [(i, unit) for i, size in enumerate(sizes) for unit in range(size)]
        order = [owners[i] for i in spread.argsort(descending=True, stable=True).tolist()]
        # One of each state at least, or else there would be nothing to pick.
        heads = [next(place for place in order if place[0] == i) for i in range(len(sizes))]
        wanted = dict.fromkeys([*heads, *first, *order])
        chosen = list(wanted)[: max(room, len(sizes))]
        return [sorted(unit for i, unit in chosen if i == state) for state in range(len(sizes))]


def _state(view: StateView, units: list[int]) -> dict[str, object]:
    values = view.values[:, units].float()
    largest = values.abs().amax(0)
    steps = (values / largest.clamp(min=1e-30) * _STEPS).round().T
    return {
        "layer": view.layer,
        "state": view.state,
        "size": int(view.values.shape[1]),
        "units": units,
        "largest": [float(f"{value:.4g}") for value in largest.tolist()],
        # Unit by unit: the page reads one at a time.
        "values": _packed(steps.numpy(), "i1"),
    }


def _root(probabilities: Tensor) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return (probabilities.double().sqrt() * _ROOTS).round().numpy()


def _packed(values: object, kind: str) -> str:
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode("ascii")
