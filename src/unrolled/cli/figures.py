"""The figures of a language model in words."""

from __future__ import annotations

import math

from unrolled.data.vocabulary import Kind

UNITS: dict[Kind, str] = {"char": "character", "byte": "byte", "word": "word", "item": "item"}


def in_words(loss: float, kind: Kind) -> str:
    """A mean cross-entropy in nats per token, also in bits and as perplexity."""
    unit = UNITS[kind]
    perplexity = math.exp(loss) if loss < 700 else math.inf
    return (
        f"{loss:.4f} nats per {unit}, {loss / math.log(2):.4f} bits per {unit}, "
        f"perplexity {perplexity:.4g}"
    )
