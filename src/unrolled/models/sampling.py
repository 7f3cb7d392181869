"""From logits to the next token or frame: temperature, top-k and nucleus sampling.

- top-k: Fan, Lewis, Dauphin, "Hierarchical neural story generation", 2018
- top-p: Holtzman et al., "The curious case of neural text degeneration", 2020
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import ModelError, UserError


@dataclass(frozen=True)
class Sampling:
    """How to draw a token from a model's logits.

    Attributes:
        temperature: Divides the logits: below 1 the likely gets likelier, 0 takes the likeliest.
        top_k: Draw from the so many likeliest tokens only.
        top_p: Draw from the likeliest tokens only that together have at least this probability.

    Raises:
        UserError: where one of them is out of its range.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"the temperature is at least 0, not {self.temperature}")
        if self.top_k is not None and self.top_k < 1:
            raise UserError(f"top-k is at least 1, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top-p is more than 0 and at most 1, not {self.top_p}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """The distribution ``[V]`` to draw from, float64, for logits ``[V]``.

        Raises:
            ModelError: where the logits are not all numbers.
        """
        logits = _finite(logits, "token")
        if self.temperature == 0:
            return torch.zeros_like(logits).index_fill_(0, logits.argmax(), 1.0)
        # A tiny temperature may not turn the finite differences into infinities.
        scaled = (logits - logits.max()) / self.temperature
        kept = torch.full_like(scaled, -math.inf)
        likeliest = scaled.topk(min(self.top_k or len(scaled), len(scaled))).indices
        ordered = scaled[likeliest].softmax(0)
        # A token stays if those before it have not yet reached top-p; the first always does.
        likeliest = likeliest[ordered.cumsum(0) - ordered < self.top_p]
        kept[likeliest] = scaled[likeliest]
        return kept.softmax(0)

    def draw(self, logits: Tensor, generator: torch.Generator) -> int:
        """A token for logits ``[V]``."""
        return int(torch.multinomial(self.probabilities(logits), 1, generator=generator))

    def draw_each(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """Which of K keys are on, each drawn by itself: bool ``[K]`` for logits ``[K]``.

        Raises:
            UserError: where top-k or top-p are set, which choose among tokens.
            ModelError: where the logits are not all numbers.
        """
        if self.top_k is not None or self.top_p < 1:
            raise UserError(
                "top-k and top-p choose among tokens, and this model draws frames: leave them out"
            )
        logits = _finite(logits, "frame")
        if self.temperature == 0:
            return logits > 0
        chances = torch.sigmoid(logits / self.temperature)
        return torch.rand(len(chances), dtype=torch.float64, generator=generator) < chances


def _finite(logits: Tensor, what: str) -> Tensor:
    """The logits in float64; a token that is never drawn has minus infinity."""
    logits = logits.double()
    if logits.isnan().any() or logits.isposinf().any():
        raise ModelError(
            f"the model's output is not finite, so that no {what} can be drawn: its training "
            "diverged; train anew with a lower learning rate or with gradient clipping"
        )
    return logits
