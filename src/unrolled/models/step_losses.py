"""The negative log-likelihood of tokens by a softmax, of binary frames by a sigmoid a key."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.data.batch import Sequences


def step_losses(logits: Tensor, sequence: Tensor, lengths: Tensor | None = None) -> Tensor:
    """The loss of each step.

    Args:
        logits: ``[T, B, V]``.
        sequence: Token ids ``[T, B]``, or frames of zeros and ones ``[T, B, V]``.
        lengths: The steps of each sequence that are no padding: int64 ``[B]`` on the CPU.

    Returns:
        ``[T, B]`` in nats, float32 (float64 for logits in float64): of a frame, the sum over its
        keys; zero behind a sequence's end.
    """
    wide = logits if logits.dtype == torch.float64 else logits.float()
    if sequence.dim() == 3:
        targets = sequence.to(wide.dtype)
        found = F.binary_cross_entropy_with_logits(wide, targets, reduction="none").sum(-1)
    else:
        flat = F.cross_entropy(wide.flatten(0, 1), sequence.flatten(), reduction="none")
        found = flat.view(sequence.shape)
    return found.masked_fill(~Sequences(sequence, lengths).present(), 0.0)
