"""How well each unit tells a property of the text, found on one half and measured on the other.

For a mask it is the area under the ROC curve, the probability that the unit is higher where the
mask holds than where it does not, ties counting half (Mann and Whitney 1947; Hanley and McNeil,
"The meaning and use of the area under a receiver operating characteristic (ROC) curve", 1982).
For a quantity it is Spearman's rank correlation.  Both read ranks alone, so no unit gains by its
scale.

The best of many units is best by chance too.  So units are ranked, and the sign of each is fixed,
on the first half of the text; what is reported of them comes from the second half, which had no
part in the choice.  A unit that follows the property falls off little, one picked by chance falls
back to an area of 0.5 or a correlation of 0.  The halves are stretches of text, not every other
character, since neighbours are alike.

How far that is by chance hangs on how long a unit and a property stay as they are, which tests for
independent samples don't know of.  So the property is shifted in a circle over the held-out half,
which keeps its runs and parts it from the unit, by every number of places: the p-value is the share
of the shifts, none included, whose score is as good (Edgington and Onghena, "Randomization tests",
2007; of shifts Harris, "Nonsense correlations in neuroscience", 2020).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Measure = Literal["AUC", "Spearman"]
_AT_ONCE = 1 << 22


@dataclass(frozen=True, eq=False)
class HalfScores:
    """The scores of all units on one half of the text.

    Attributes:
        measure: ``AUC`` in 0…1, 0.5 by chance, or ``Spearman`` in −1…1, 0 by chance.
        scores: float64 ``[units]``.
    """

    measure: Measure
    scores: Tensor

    @property
    def strength(self) -> Tensor:
        """How far from chance, in −1…1: 2 AUC − 1, or Spearman's."""
        return 2 * self.scores - 1 if self.measure == "AUC" else self.scores


def ranks(values: Tensor) -> Tensor:
    """The ranks of ``[N, units]`` along N, from 1, those of equal numbers averaged: float64."""
    columns = values.T.contiguous()
    ordered = columns.sort(dim=1).values
    below = torch.searchsorted(ordered, columns)
    up_to = torch.searchsorted(ordered, columns, right=True)
    return ((below + up_to + 1).double() / 2).T


def auc(ranked: Tensor, mask: Tensor) -> Tensor:
    """The area under the ROC curve of each unit for a mask.

    Args:
        ranked: The ranks of the units ``[N, units]``.
        mask: bool ``[N]``, with both values in it.

    Returns:
        float64 ``[units]``.
    """
    true = int(mask.sum())
    false = len(mask) - true
    return (mask.double() @ ranked - true * (true + 1) / 2) / (true * false)


def spearman(ranked: Tensor, quantity: Tensor) -> Tensor:
    """Spearman's correlation of each unit with a quantity; 0 for a unit that never changes.

    Args:
        ranked: The ranks of the units ``[N, units]``.
        quantity: ``[N]``, not the same everywhere.

    Returns:
        float64 ``[units]``.
    """
    x = ranked - ranked.mean(0)
    y = ranks(quantity.unsqueeze(1))[:, 0]
    y = y - y.mean()
    scale = x.square().sum(0).sqrt() * y.square().sum().sqrt()
    return torch.where(scale > 0, (x * y.unsqueeze(1)).sum(0) / scale.clamp(min=1e-300), 0.0)


def chance(unit: Tensor, target: Tensor, sign: int) -> float:
    """How often a unit is as good by chance: the p-value over all circular shifts of the property.

    Args:
        unit: Its values ``[N]``.
        target: ``[N]``: bool for a mask, any other numbers for a quantity.
        sign: 1 where a high unit is to tell the property, −1 where a low one is.

    Returns:
        The share of the N shifts at which the score, turned by the sign, is at least that of the
        unshifted property: 1/N at best.
    """
    # The area and the correlation both rise with the sum of products of ranks.
    x, y = (r - r.mean() for r in ranks(torch.stack([unit.double(), target.double()], 1)).T)
    n = len(x)
    found = sign * torch.fft.irfft(torch.fft.rfft(x) * torch.fft.rfft(y).conj(), n)
    # What a Fourier transform there and back may err by; so near counts as equal.
    bound = 8 * math.log2(2 * n) * torch.finfo(x.dtype).eps * x.norm() * y.norm()
    return int((found >= found[0] - 2 * bound).sum()) / n


def scores(
    values: Tensor,
    targets: Mapping[str, Tensor],
    tell: Callable[[float], None] = lambda share: None,
) -> dict[str, HalfScores | None]:
    """The scores of all units for each property.

    Args:
        values: Of the units ``[N, units]``.
        targets: By name ``[N]``: bool for a mask, any other numbers for a quantity.
        tell: Told which share of the units is done.

    Returns:
        By name; None for a property that is the same everywhere.
    """
    n, units = values.shape
    changing = {k: t for k, t in targets.items() if n and not bool((t == t[0]).all())}
    found: dict[str, list[Tensor]] = {name: [] for name in changing}
    step = max(1, _AT_ONCE // max(n, 1))
    for start in range(0, units, step):
        ranked = ranks(values[:, start : start + step])
        for name, target in changing.items():
            measured = auc if target.dtype == torch.bool else spearman
            found[name].append(measured(ranked, target))
        tell(min(1.0, (start + step) / units))
    return {
        name: HalfScores("AUC" if t.dtype == torch.bool else "Spearman", torch.cat(found[name]))
        if name in changing
        else None
        for name, t in targets.items()
    }
