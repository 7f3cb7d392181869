"""The optimizer of a run, from its settings."""

from __future__ import annotations

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from unrolled.train.config import TrainConfig


def build_optimizer(model: nn.Module, config: TrainConfig) -> Optimizer:
    """AdamW or SGD over the parameters that learn; biases and other vectors don't decay."""
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    # One pass over each parameter instead of one for each of the update's operations.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    if config.optimizer == "sgd":
        return SGD(groups, lr=config.learning_rate, momentum=config.momentum, fused=fused)
    return AdamW(groups, lr=config.learning_rate, betas=(config.beta1, config.beta2), fused=fused)
