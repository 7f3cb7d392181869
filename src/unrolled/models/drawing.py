"""Sequences drawn from a generator, one step after the other."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import UserError
from unrolled.models.modes import evaluating
from unrolled.models.sampling import Sampling

if TYPE_CHECKING:
    from unrolled.models.generator import Generator


@torch.no_grad()
def draw(
    model: Generator, label: int, start: Tensor, length: int, sampling: Sampling, seed: int | None
) -> Tensor:
    """At most ``length`` steps that follow ``start``, behind it: ``[n, ...]`` on the CPU.

    Tokens end before "<eos>"; frames don't end by themselves.

    Args:
        model: The generator.
        label: The label's place.
        start: The first steps ``[n, ...]``; there may be none.
        length: How many to draw.
        sampling: How each is drawn.
        seed: Where the draws start; None starts anywhere.

    Raises:
        UserError: where the length is below zero, or the sampling is not for this kind of step.
        ModelError: where the model's output is not finite.
    """
    if length < 0:
        raise UserError(f"the length is at least 0 steps, not {length}")
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    drawn = list(start.unbind())
    steps = model.before(start.unsqueeze(1))
    labels = torch.tensor([label], device=model.device)
    state = None
    with evaluating(model):
        for _ in range(length):
            logits, state = model(steps.to(model.device), labels, state)
            step = _next(logits[-1, 0].cpu(), model.vocabulary, sampling, generator)
            if step is None:
                break
            drawn.append(step)
            steps = step[None, None]
    return torch.stack(drawn) if drawn else start


def _next(
    logits: Tensor, vocabulary: Vocabulary | None, sampling: Sampling, generator: torch.Generator
) -> Tensor | None:
    """The step that is drawn from logits ``[V]``; None at a text's end."""
    if vocabulary is None:
        return sampling.draw_each(logits, generator).to(torch.uint8)
    if vocabulary.unk is not None:
        logits[vocabulary.unk] = -math.inf
    token = sampling.draw(logits, generator)
    return None if token == vocabulary.eos else torch.tensor(token)
