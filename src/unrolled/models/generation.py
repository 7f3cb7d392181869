"""Text from a language model, piece by piece as it is drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from unrolled.errors import UserError
from unrolled.models.modes import evaluating
from unrolled.models.sampling import Sampling

if TYPE_CHECKING:
    from unrolled.models.language_model import LanguageModel


def generate(
    model: LanguageModel, prompt: str, length: int, sampling: Sampling, seed: int | None
) -> Iterator[str]:
    """At most ``length`` tokens that follow ``prompt``; see ``LanguageModel.generate``."""
    if length < 0:
        raise UserError(f"the length is at least 0 tokens, not {length}")
    tokens = model.with_start(prompt)
    if len(tokens) == 0:
        raise UserError(
            "give a prompt: this model's vocabulary has no <eos>, with which a text could start"
        )
    generator = torch.Generator()
    if seed is None:
        generator.seed()
    else:
        generator.manual_seed(seed)
    return _pieces(model, tokens, length, sampling, generator)


@torch.no_grad()
def _pieces(
    model: LanguageModel,
    tokens: Tensor,
    length: int,
    sampling: Sampling,
    generator: torch.Generator,
) -> Iterator[str]:
    vocabulary = model.vocabulary
    decoder = vocabulary.decoder()
    if tokens[-1] != vocabulary.eos:
        # What stands before the first token may depend on the prompt's last.
        decoder.decode(int(tokens[-1]))
        decoder.finish()
    state = None
    tokens = tokens.unsqueeze(1)
    with evaluating(model):
        for _ in range(length):
            logits, state = model(tokens.to(model.device), state)
            last = logits[-1, 0].cpu()
            if vocabulary.unk is not None:
                last[vocabulary.unk] = -math.inf
            token = sampling.draw(last, generator)
            if token == vocabulary.eos:
                break
            piece = decoder.decode(token)
            if piece:
                yield piece
            tokens = torch.tensor([[token]])
    rest = decoder.finish()
    if rest:
        yield rest
