"""Figures in words."""

from __future__ import annotations

import math
from collections.abc import Mapping

from unrolled.data.vocabulary import Kind
from unrolled.train.metrics import Value

UNITS: dict[Kind, str] = {"char": "character", "byte": "byte", "word": "word", "item": "item"}


# What a line of metrics has besides figures.
_WHERE = {"step", "epoch", "targets", "split"}


def in_line(record: Mapping[str, Value]) -> str:
    """The figures of a line of metrics, with their names."""
    return ", ".join(f"{n} {v:.5g}" for n, v in record.items() if n not in _WHERE)


def in_words(loss: float, kind: Kind) -> str:
    """A mean cross-entropy in nats per token, also in bits and as perplexity."""
    unit = UNITS[kind]
    perplexity = math.exp(loss) if loss < 700 else math.inf
    return (
        f"{loss:.4f} nats per {unit}, {loss / math.log(2):.4f} bits per {unit}, "
        f"perplexity {perplexity:.4g}"
    )
