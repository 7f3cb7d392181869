"""What a forecaster is built of, and what is taken from the season where nothing else is said."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from unrolled.errors import ModelError
from unrolled.models.config import Check, LayersConfig, count, one_of, require
from unrolled.models.scaling import Scaling

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


@dataclass(frozen=True)
class ForecasterConfig(LayersConfig):
    """What a forecaster is built of, besides its layers.

    Attributes:
        hidden_size: The hidden units of each layer.
        horizon: How many steps ahead are forecast; 0 takes a season, or 12 where there is none.
        season: The steps after which a series is alike again; 0 takes what the time stamps say: 12
            for months, 7 for days, 24 for hours.
        context: The most past values that a forecast reads; 0 takes six seasons, at least 24.
        quantiles: The probabilities whose quantiles are forecast, rising; 0.5 is among them.
        scaling: By what a window is normalised: the last value and the mean change of a step; the
            value a season before; or the mean absolute value.
        lags: The last values that a linear map takes to the forecast as well; null takes a season
            and one more, 0 leaves it out.
        head_size: The hidden units, for each step ahead, between the layers and the quantiles.

    Raises:
        ModelError: where a value is out of its range or of another type.
    """

    hidden_size: int = 32
    horizon: int = 0
    season: int = 0
    context: int = 0
    quantiles: tuple[float, ...] = field(default=DECILES)
    scaling: Scaling = "last"
    lags: int | None = None
    head_size: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.quantiles, list):  # as JSON has it
            object.__setattr__(self, "quantiles", tuple(self.quantiles))
        require(self, _FORECASTER)

    def resolved(self, season: int) -> ForecasterConfig:
        """The same with all numbers set.

        Args:
            season: What the time stamps say, at least 1.

        Raises:
            ModelError: where what follows is not possible.
        """
        m = self.season or season
        context = self.context or max(6 * m, 24)
        needed = m + 1 if self.scaling == "seasonal" else 2
        if context < needed:
            raise ModelError(f"context is at least {needed} for this scaling, not {context}")
        # Seasonal differences are a season fewer than the values.
        inputs = context - m if self.scaling == "seasonal" else context
        lags = min(m + 1, inputs) if self.lags is None else self.lags
        if lags > inputs:
            raise ModelError(
                f"lags is at most {inputs}, what a context of {context} has to read, not {lags}"
            )
        horizon = self.horizon or (m if m > 1 else 12)
        return replace(self, season=m, context=context, horizon=horizon, lags=lags)


def _rising(v: Any) -> bool:
    return (
        isinstance(v, tuple)
        and all(type(q) is float and 0 < q < 1 for q in v)
        and 0.5 in v
        and list(v) == sorted(set(v))
    )


_FORECASTER: Mapping[str, Check] = {
    "horizon": count(0),
    "season": count(0),
    "context": count(0),
    "quantiles": (_rising, "rising numbers between 0 and 1 with 0.5 among them"),
    "scaling": one_of("last", "seasonal", "mean"),
    "lags": (lambda v: v is None or (type(v) is int and v >= 0), "a whole number or null"),
    "head_size": count(1),
}
