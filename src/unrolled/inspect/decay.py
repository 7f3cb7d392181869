"""How a norm falls or grows over a distance, in numbers and in words.

A gradient that flows back through one linear step after another falls or grows geometrically
(Hochreiter 1991; Bengio, Simard and Frasconi 1994): its logarithm is a line.  A gated network has
many time constants, so the curve is steep at first and flattens: what short-lived units carried is
gone, and what remains flows through those that keep.  Whether learning over long distances can work
is a matter of that rest, so the rate is that of the curve's second half, by a line that is robust
against outliers (Theil 1950; Sen 1968: the median of the slopes between all pairs of points).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from unrolled.inspect.numerals import numeral
from unrolled.inspect.resampled import rates

Verdict = Literal["vanishing", "healthy", "exploding", "unclear", "unknown"]

SPAN, FAR = 50, 100
"""The steps over which the rate is judged, and the distance at which what is left is."""
FEW, MANY = 0.01, 10.0
"""The shares that are left over a span of what vanishes, and of what explodes."""
_BURST = 100.0
_UNSEEN = torch.finfo(torch.float32).eps
_LEAST = 4
_POINTS = 200
"""So many of the curve are fitted; of each draw of sequences, a quarter."""


@dataclass(frozen=True)
class Decay:
    """How a curve over the distance goes.

    Attributes:
        verdict: See :func:`decay`.
        rate: The factor from one step to the next in the second half; NaN where unknown.
        fitted: The distances that it is fitted to, first and last.
        horizon: The memory horizon, the smallest distance from which on no more than 1 % remains of
            what there is at distance 0; None where more remains to the end.
        steps: The largest distance that was measured.
        remains: The share that is left there.
        reason: All this in words.
        between: The rates that 90 % of draws of the sequences lie between; None where there is but
            one, or no rate.
    """

    verdict: Verdict
    rate: float
    fitted: tuple[int, int]
    horizon: int | None
    steps: int
    remains: float
    reason: str
    between: tuple[float, float] | None = None

    @property
    def reach(self) -> int | str | None:
        """The horizon, ``beyond`` what was measured, or None where there is no verdict."""
        if self.verdict == "unknown":
            return None
        return self.horizon or f"beyond {self.steps}"


def decay(curve: Tensor, smallest: float = 0.0, each: Tensor | None = None) -> Decay:
    """Judges a curve of norms over the distance.

    ``exploding``: the norm is not finite, grows a hundredfold within what was measured, or tenfold
    in 50 steps at the fitted rate (1.047 a step).  ``vanishing``: at the fitted rate no more than
    1 % is left after 50 further steps (0.912 a step), or at distance 100 (or the last, where that
    is nearer) less is left than float32 could tell beside what comes from distance 0.  ``healthy``:
    neither; a network may well forget most of its input, as long as a part fades slowly.
    ``unclear``: the verdict hangs on the rate, and the sequences differ so much that 90 % of draws
    of them have it on both sides of a limit.  ``unknown``: fewer than four distances.

    Args:
        curve: ``[N]``, from distance 0 on.
        smallest: Values no larger than this have lost their precision, and are not fitted.
        each: The curves that it is the mean of ``[N, B]``, NaN where one does not reach so far.
    """
    values = curve.double()
    steps = len(values) - 1
    finite = values.isfinite()
    usable = _leading(finite & (values > max(smallest, 0.0)))
    if steps + 1 < _LEAST:
        reason = (
            f"the loss hangs on {steps + 1 or 'no'} of its steps: a rate takes {_LEAST} or more"
        )
        return undecided(steps, reason)
    shares = values / values[0]
    horizon = _horizon(shares)
    remains = float(shares[-1])
    if not finite.all():
        first = int((~finite).nonzero()[0])
        reason = f"from distance {first} on the gradient is larger than any number of its dtype"
        return Decay("exploding", math.inf, (0, first), None, steps, math.inf, reason)
    if usable < _LEAST:
        reason = f"nothing that can be told from zero is left at distance {usable}"
        return Decay("vanishing", 0.0, (0, usable), horizon, steps, remains, reason)
    first, last = usable // 2 if usable > 2 * _LEAST else 0, usable - 1
    fitted = values[first : last + 1].log()
    slope = float(_slopes(fitted.unsqueeze(0), _POINTS))
    rate = math.exp(slope)
    between, count = None, 1 if each is None else each.shape[1]
    if each is not None and count > 1:
        some = partial(_slopes, most=_POINTS // 4)
        between = rates(each[first : last + 1], some, slope)
    trend = f"{_change(rate)} a step (fitted from distance {first} to {last})"
    left = float(shares[min(FAR, steps)])
    peak = float(shares.max())
    told = f"{_until(horizon, steps)}; {_share(remains)} is left at distance {steps}"
    verdict = _of_rate(rate)
    low, high = (_of_rate(r) for r in between or (rate, rate))
    if peak > _BURST:
        verdict = "exploding"
    elif left < _UNSEEN and high != "exploding":
        if verdict == "healthy":
            told += (
                f", and {_share(left)} at {min(FAR, steps)}, less than float32 tells from nothing"
            )
        verdict = "vanishing"
    elif low != high and between:
        verdict = "unclear"
        trend = (
            f"between {low} and {high}: {trend}; the factor of a step is {numeral(between[0])} to "
            f"{numeral(between[1])} in 90 % of draws of the {count} sequences"
        )
    if verdict == "exploding":
        told = f"up to {numeral(peak)} times what it is at distance 0; {told}"
    elif _of_rate(rate) == verdict == "vanishing":
        trend += f", so 1 % of the slowest part is left after {_steps(rate)} steps"
    reason = f"{trend}; {told}"
    return Decay(verdict, rate, (first, last), horizon, steps, remains, reason, between)


def _of_rate(rate: float) -> Verdict:
    if rate**SPAN > MANY:
        return "exploding"
    return "vanishing" if rate**SPAN <= FEW else "healthy"


def undecided(steps: int, reason: str) -> Decay:
    """No verdict on a curve of so many steps, for a reason."""
    return Decay("unknown", math.nan, (0, 0), None, steps, math.nan, reason)


def _leading(good: Tensor) -> int:
    """How many are good before the first that is not."""
    bad = (~good).nonzero()
    return int(bad[0]) if len(bad) else len(good)


def _slopes(logs: Tensor, most: int) -> Tensor:
    """Theil and Sen's, of curves ``[R, N]``."""
    places = torch.arange(logs.shape[1], dtype=torch.float64)
    if len(places) > most:
        kept = torch.linspace(0, len(places) - 1, most, dtype=torch.float64).long()
        places, logs = places[kept], logs[:, kept]
    i, j = torch.triu_indices(len(places), len(places), 1)
    return ((logs[:, j] - logs[:, i]) / (places[j] - places[i])).quantile(0.5, dim=1)


def _horizon(shares: Tensor) -> int | None:
    above = (~(shares <= FEW)).nonzero()
    last = int(above[-1])  # distance 0 is always above
    return last + 1 if last + 1 < len(shares) else None


def _steps(rate: float) -> int:
    return math.ceil(math.log(FEW) / math.log(rate))


def _change(rate: float) -> str:
    percent = 100 * (rate - 1)
    if abs(percent) < 0.05:
        return "the gradient stays as it is, within 0.05 %"
    size = f"{abs(percent):.1f}" if abs(percent) < 99.95 else numeral(abs(percent))
    return f"the gradient {'grows' if percent > 0 else 'falls'} by {size} %"


def _until(horizon: int | None, steps: int) -> str:
    if horizon is None:
        return f"more than 1 % remains beyond {steps} steps"
    return f"1 % remains at distance {horizon}"


def _share(share: float) -> str:
    return f"{numeral(100 * share)} %"
