"""The functions that a cell's static option may name: ``nonlinearity="relu"``."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, relu, sigmoid, softmax, tanh

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": tanh,
    "relu": relu,
    "sigmoid": sigmoid,
    "softmax": lambda v: softmax(v, -1),
    "identity": lambda v: v,
}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function called ``name``; ``ValueError`` with the names there are."""
    if name not in ACTIVATIONS:
        raise ValueError(f"no activation is called {name!r}: use one of {', '.join(ACTIVATIONS)}")
    return ACTIVATIONS[name]
