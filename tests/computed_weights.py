"""Ways in which a parameter can be computed from others; each applies itself to one."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import unrolled as ur


class AView(nn.Module):
    """A parametrization that gives a view of its original."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight[:]


def _weight_norm(layer: Any, name: str) -> None:
    parametrizations.weight_norm(layer, name)
    with torch.no_grad():
        layer.parametrizations[name].original0.mul_(0.5)


def _prune(layer: Any, name: str) -> None:
    # Twice, so that a container of two methods computes it.
    prune.l1_unstructured(layer, name, amount=0.3)
    prune.random_unstructured(layer, name, amount=0.3)


def _view(layer: Any, name: str) -> None:
    parametrize.register_parametrization(layer, name, AView())


COMPUTED: dict[str, Callable[[Any, str], object]] = {
    "weight_drop": lambda layer, name: ur.weight_drop(layer, name, 0.5),
    "weight_norm": _weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "pruning": _prune,
    "a view": _view,
}
