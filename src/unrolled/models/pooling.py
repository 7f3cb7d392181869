"""Where sequences of unequal length end, and one vector for each of all its steps' outputs.

Attention with one learned query: Yang et al., "Hierarchical attention networks for document
classification", 2016, without the layer before the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn


def last_outputs(y: Tensor, lengths: Tensor, *, both_ways: bool) -> Tensor:
    """What each direction put out last: the forward one at the end, the backward one at step 0.

    Args:
        y: Outputs ``[T, B, F]``; with two directions the first half is the forward one's.
        lengths: From 1 to T, int64 ``[B]`` on the CPU.
        both_ways: Whether there are two directions.

    Returns:
        ``[B, F]``.
    """
    ends = y[(lengths - 1).to(y.device), torch.arange(y.shape[1], device=y.device)]
    if not both_ways:
        return ends
    half = y.shape[2] // 2
    return torch.cat([ends[:, :half], y[0, :, half:]], 1)


class Mean(nn.Module):
    """The mean over each sequence's steps."""

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """``[T, B, F]`` to ``[B, F]``."""
        return (y * present(y, lengths)).sum(0) / lengths.to(y).unsqueeze(1)


class Max(nn.Module):
    """The largest value of each feature."""

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """``[T, B, F]`` to ``[B, F]``."""
        return y.masked_fill(~present(y, lengths), -torch.inf).amax(0)


class Attention(nn.Module):
    """The mean weighted by the softmax of each step's product with a learned query."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.empty(features).normal_(0, features**-0.5))

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """``[T, B, F]`` to ``[B, F]``."""
        scores = torch.einsum("tbf,f->tb", y, self.query).unsqueeze(2)
        weights = scores.masked_fill(~present(y, lengths), -torch.inf).softmax(0)
        return (y * weights).sum(0)


class Last(nn.Module):
    """What each direction put out last.

    Args:
        both_ways: Whether there are two directions.
    """

    def __init__(self, both_ways: bool) -> None:
        super().__init__()
        self.both_ways = both_ways

    def forward(self, y: Tensor, lengths: Tensor) -> Tensor:
        """``[T, B, F]`` to ``[B, F]``."""
        return last_outputs(y, lengths, both_ways=self.both_ways)


POOLING: Mapping[str, Callable[[int, bool], nn.Module]] = {
    "last": lambda features, both_ways: Last(both_ways),
    "mean": lambda features, both_ways: Mean(),
    "max": lambda features, both_ways: Max(),
    "attention": lambda features, both_ways: Attention(features),
}
"""By the configuration's word, from F and whether there are two directions."""


def present(y: Tensor, lengths: Tensor) -> Tensor:
    """Which steps are no padding: bool ``[T, B, 1]`` on y's device."""
    steps = torch.arange(y.shape[0], device=y.device).unsqueeze(1)
    return (steps < lengths.to(y.device)).unsqueeze(2)
