"""The mean cross-entropy of a model over a text, the state carried from window to window."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from unrolled.data.vocabulary import Ids
from unrolled.data.windows import Stream
from unrolled.errors import TrainingError
from unrolled.models.modes import evaluating


def validation_stream(tokens: Ids, batch_size: int, window: int) -> Stream:
    """``tokens`` in ``batch_size`` streams; in fewer and shorter ones where there is little text.

    Raises:
        TrainingError: where there is nothing to predict.
    """
    if len(tokens) < 2:
        raise TrainingError(
            f"the validation part has {len(tokens)} tokens, which leaves nothing to predict: raise "
            "the validation fraction, or set it to 0 to do without"
        )
    window = min(window, len(tokens) - 1)
    return Stream(tokens, max(1, min(batch_size, (len(tokens) - 1) // window)), window)


def mean_loss(model: nn.Module, stream: Stream) -> float:
    """Nats per token, with the model in evaluation mode; its mode is as before afterwards."""
    device = next(model.parameters()).device
    total = torch.zeros((), dtype=torch.float64, device=device)
    state: tuple[Tensor, ...] | None = None
    with evaluating(model), torch.no_grad():
        for x, y in stream.batches():
            logits, state = model(x.to(device), state)
            total += F.cross_entropy(
                logits.flatten(0, 1), y.to(device).flatten(), reduction="sum"
            ).double()
    return total.item() / (stream.steps * stream.batch_size)
