"""Weight drop: dropout of a layer's matrices, the same over all steps and examples of a call.

Unlike dropout of a state it leaves every kernel as it is: it changes what the kernels are given.

Paper: Merity, Keskar and Socher 2018, "Regularizing and optimizing LSTM language models",
arXiv:1708.02182 (AWD-LSTM); the dropped connections are those of Wan et al. 2013.
"""

from __future__ import annotations

import re
from typing import TypeVar, cast

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from unrolled.nn.checks import check_probability

Module = TypeVar("Module", bound=nn.Module)


class WeightDrop(nn.Module):
    """The parametrization: in training each element is 0 with probability ``p``, else / (1 − p)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, weight: Tensor) -> Tensor:
        """The matrix with its elements dropped."""
        return F.dropout(weight, self.p, self.training)

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


def weight_drop(layer: Module, name: str, p: float = 0.5) -> Module:
    """Drop elements of a layer's matrices in training, drawn anew at each call; gives the layer.

    Args:
        layer: a ``Recurrent``, or an ``RNN``, ``GRU`` or ``LSTM`` of ours.
        name: a parameter as the cell has it, ``"U"`` or ``"weight_hh"``, for those of all layers
            and directions; or one alone, such as ``"U_l0"``.
        p: the probability of each element.

    It is a parametrization of torch's: the parameter itself is called
    ``parametrizations.U_l0.original`` from then on, and ``torch.nn.utils.parametrize`` takes it off
    again.  A matrix that is parametrized already, such as by ``spectral_norm``, is computed so
    first; one that is dropped already gets the new ``p``.

    Raises ``ValueError`` where there is no such parameter, where one is pruned, or ``p`` is no
    probability.
    """
    check_probability("p", p)
    kind = parametrize.type_before_parametrizations(layer).__name__
    names = _weights(layer)
    pattern = re.compile(rf"{re.escape(name)}(_l\d+(_reverse)?)?")
    found = [n for n in names if pattern.fullmatch(n)]
    if not found:
        raise ValueError(
            f"weight_drop: {kind} has no parameter {name!r}; it has {', '.join(names) or 'none'}"
        )
    for each in found:
        if f"{each}_orig" in dict(layer.named_parameters(recurse=False)):
            raise ValueError(
                f"weight_drop: {each} of {kind} is pruned, and computed again at each call: make "
                f"that permanent first, torch.nn.utils.prune.remove(layer, {each!r})"
            )
    for each in found:
        drops = [m for m in _parametrizations(layer, each) if isinstance(m, WeightDrop)]
        for drop in drops:
            drop.p = p
        if not drops:
            parametrize.register_parametrization(layer, each, WeightDrop(p))
    return layer


def _weights(layer: nn.Module) -> list[str]:
    """The layer's parameters by the names that it reads them by, computed ones last."""
    own = [n.removesuffix("_orig") for n, _ in layer.named_parameters(recurse=False)]
    computed = layer.parametrizations if parametrize.is_parametrized(layer) else {}
    return [*own, *cast("nn.ModuleDict", computed)]


def _parametrizations(layer: nn.Module, name: str) -> list[nn.Module]:
    if not parametrize.is_parametrized(layer, name):
        return []
    return list(cast("nn.ModuleDict", layer.parametrizations)[name].children())
