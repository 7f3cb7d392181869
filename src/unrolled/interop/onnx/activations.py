"""ONNX's activation functions of recurrent nodes, with their ``alpha`` and ``beta``.

Formulas and defaults are those of the ONNX specification of RNN, GRU and LSTM (opset 14 and 22),
which takes the defaults from the operators of the same name; ``Affine`` and ``ScaledTanh`` are no
operators, so theirs must be given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, relu, sigmoid, tanh
from torch.nn import functional as F

Formula = Callable[[Any, float, float], Any]


@dataclass(frozen=True)
class Row:
    """A formula in v, alpha and beta, and which of the two it takes.

    A default is a number, ``nan`` where a value must be given, or ``None`` where none is taken.
    """

    formula: Formula
    alpha: float | None = None
    beta: float | None = None


REQUIRED = math.nan

TABLE: dict[str, Row] = {
    "Relu": Row(lambda v, alpha, beta: relu(v)),
    "Tanh": Row(lambda v, alpha, beta: tanh(v)),
    "Sigmoid": Row(lambda v, alpha, beta: sigmoid(v)),
    "Affine": Row(lambda v, alpha, beta: alpha * v + beta, REQUIRED, REQUIRED),
    "LeakyRelu": Row(lambda v, alpha, beta: torch.where(v >= 0, v, alpha * v), 0.01),
    "ThresholdedRelu": Row(lambda v, alpha, beta: torch.where(v >= alpha, v, 0.0), 1.0),
    "ScaledTanh": Row(lambda v, alpha, beta: alpha * tanh(beta * v), REQUIRED, REQUIRED),
    "HardSigmoid": Row(lambda v, alpha, beta: torch.clamp(alpha * v + beta, 0.0, 1.0), 0.2, 0.5),
    "Elu": Row(lambda v, alpha, beta: F.elu(v, alpha), 1.0),
    "Softsign": Row(lambda v, alpha, beta: F.softsign(v)),
    "Softplus": Row(lambda v, alpha, beta: F.softplus(v)),
}
"""Every activation that the specification names."""

NAMES = {name.lower(): name for name in TABLE}


@dataclass(frozen=True)
class Activation:
    """One function with its numbers; called on a traced vector or a tensor."""

    name: str
    alpha: float = 0.0
    beta: float = 0.0

    def __call__(self, v: Tensor) -> Tensor:
        """The function of ``v``, element by element."""
        return TABLE[self.name].formula(v, self.alpha, self.beta)


def read(
    names: Sequence[str], alphas: Sequence[float], betas: Sequence[float], where: str
) -> tuple[Activation, ...]:
    """The functions called ``names``, which take alphas and betas in turn, each if it has one.

    ONNX Runtime reads the lists so; where they are shorter, defaults follow.  ``ValueError`` for
    an unknown name, a missing value that has no default, and values that no function takes.
    """
    known: list[str] = []
    for name in names:
        if name.lower() not in NAMES:
            raise ValueError(
                f"{where}: there is no activation {name!r}, expected one of {', '.join(TABLE)}"
            )
        known.append(NAMES[name.lower()])
    columns = [
        _assigned(known, [TABLE[n].alpha for n in known], alphas, "alpha", where),
        _assigned(known, [TABLE[n].beta for n in known], betas, "beta", where),
    ]
    return tuple(Activation(*row) for row in zip(known, *columns, strict=True))


def _assigned(
    names: Sequence[str],
    defaults: Sequence[float | None],
    given: Sequence[float],
    what: str,
    where: str,
) -> list[float]:
    takers = [n for n, d in zip(names, defaults, strict=True) if d is not None]
    if len(given) > len(takers):
        raise ValueError(
            f"{where}: activation_{what} has {len(given)} values, and of the activations "
            f"{', '.join(names)} there take one: {', '.join(takers) or 'none'}; give one value for "
            "each of these, in order"
        )
    values: Iterator[float] = iter(given)
    found: list[float] = []
    for name, default in zip(names, defaults, strict=True):
        value = 0.0 if default is None else next(values, default)
        if math.isnan(value):
            raise ValueError(
                f"{where}: {name} has no {what}, and ONNX has no default for it; give "
                f"activation_{what}"
            )
        found.append(value)
    return found
