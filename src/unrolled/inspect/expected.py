"""What a language model expected after each token of a text, and how it took what came."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from unrolled.inspect.text import TextSample

TOP = 5


@dataclass(frozen=True, eq=False)
class Expected:
    """What the model expected after each of T tokens.

    Attributes:
        tokens: The ids of the five likeliest next tokens, or of all where there are fewer, the
            likeliest first: int64 ``[T, 5]``.
        probabilities: Theirs, float32 ``[T, 5]``.
        surprise: −log₂ of the probability of each token itself, given what stands before it: bits,
            float64 ``[T]``; NaN for the first where the model reads nothing before it.
    """

    tokens: Tensor
    probabilities: Tensor
    surprise: Tensor


@dataclass(eq=False)
class Expecting:
    """Gathers it from the logits, as a text is read window by window."""

    sample: TextSample
    _tokens: list[Tensor] = field(default_factory=list[Tensor])
    _probabilities: list[Tensor] = field(default_factory=list[Tensor])
    _surprise: list[Tensor] = field(default_factory=list[Tensor])
    _rows: int = 0

    def look(self, logits: Tensor) -> None:
        """Takes the next rows ``[t, V]``."""
        log = torch.log_softmax(logits.detach().double(), -1)
        best, tokens = log.topk(min(TOP, log.shape[-1]))
        self._tokens.append(tokens.cpu())
        self._probabilities.append(best.exp().float().cpu())
        came = self.sample.fed[self._rows + 1 : self._rows + 1 + len(log)].to(log.device)
        bits = -log[: len(came)].gather(1, came)[:, 0] / torch.log(log.new_tensor(2.0))
        self._surprise.append(bits.cpu())
        self._rows += len(log)

    def done(self) -> Expected:
        """All of it, once the text is read."""
        before = len(self.sample.before)
        nothing = torch.full((1 - before,), torch.nan, dtype=torch.float64)
        return Expected(
            torch.cat(self._tokens)[before:],
            torch.cat(self._probabilities)[before:],
            torch.cat([nothing, *self._surprise]),
        )
