"""How likely a language model finds a text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled.models.modes import evaluating

if TYPE_CHECKING:
    from unrolled.models.language_model import LanguageModel, State

# Logits that are in memory at once, about 64 MB in float32.
_LOGITS = 1 << 24


@dataclass(frozen=True)
class Score:
    """The probability of a text.

    Attributes:
        log_probability: The sum over its tokens, in nats.
        tokens: How many tokens were scored.
        characters: How many characters they stand for.
        unknown: How many of them stand for what the vocabulary doesn't know.
    """

    log_probability: float
    tokens: int
    characters: int
    unknown: int

    def __add__(self, other: Score) -> Score:
        return Score(
            self.log_probability + other.log_probability,
            self.tokens + other.tokens,
            self.characters + other.characters,
            self.unknown + other.unknown,
        )

    @property
    def loss(self) -> float:
        """The mean cross-entropy in nats per token; NaN where no token was scored."""
        return -self.log_probability / self.tokens if self.tokens else math.nan

    @property
    def perplexity(self) -> float:
        """The exponential of the loss: among how many tokens the model wavers."""
        return math.exp(self.loss) if not self.loss > 700 else math.inf

    @property
    def bits_per_character(self) -> float:
        """The cross-entropy in bits per character; NaN where no character was scored."""
        if not self.characters:
            return math.nan
        return -self.log_probability / math.log(2) / self.characters


def log_probabilities(
    model: LanguageModel, tokens: Tensor, state: State | None = None
) -> tuple[Tensor, State | None]:
    """The log-probability of each token but the first, given those before it.

    Args:
        model: The language model.
        tokens: Ids ``[T + 1, B]``, int64.
        state: What the model carries from the tokens before these.

    Returns:
        ``[T, B]``, float64 on the CPU, in nats, and the state after all but the last token.
    """
    window = max(1, _LOGITS // (len(model.vocabulary) * tokens.shape[1]))
    found: list[Tensor] = [torch.empty(0, tokens.shape[1], dtype=torch.float64)]
    tokens = tokens.to(model.device)
    with evaluating(model), torch.no_grad():
        for start in range(0, len(tokens) - 1, window):
            targets = tokens[start + 1 : start + 1 + window]
            logits, state = model(tokens[start : start + len(targets)], state)
            losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
            found.append(-losses.view(targets.shape).double().cpu())
    return torch.cat(found), state


def score_text(model: LanguageModel, chunks: Iterable[str]) -> Score:
    """The score of one document that comes in pieces, as one stream: the state goes through.

    The document starts behind "<eos>"; where the vocabulary has none, its first token stands behind
    nothing and is not scored.
    """
    score = Score(0.0, 0, 0, 0)
    state: State | None = None
    last = model.with_start("")
    for chunk in chunks:
        # The token before this chunk was not fed yet.
        ids = torch.cat([last, model.encode(chunk)])
        found, state = log_probabilities(model, ids.unsqueeze(1), state)
        score += _score(model, ids, found[:, 0], chunk, unscored=ids[: 1 - len(last)])
        last = ids[-1:]
    return score


def score_lines(
    model: LanguageModel, lines: Iterable[str], batch_size: int = 32
) -> Iterator[tuple[str, Score]]:
    """Each line without its line end, and its score by itself, as if nothing stood before it.

    A line is scored with its end, so that the probabilities of all lines add up to one. Its end,
    and what it starts behind, is a line feed, or "<eos>" where the vocabulary has no line feed;
    where it has neither, the first token is not scored.

    Args:
        model: The language model.
        lines: The lines, with or without line ends.
        batch_size: How many are scored at once.
    """
    stripped = (line.rstrip("\r\n") for line in lines)
    line_feed = "" if model.vocabulary.unknown("\n") else "\n"
    mark = model.encode(line_feed) if line_feed else model.with_start("")
    while batch := list(islice(stripped, batch_size)):
        rows = [torch.cat([mark, model.encode(line), mark]) for line in batch]
        # The padding stands behind each line, where it can't change what came before.
        found, _ = log_probabilities(model, torch.nn.utils.rnn.pad_sequence(rows))
        for line, row, column in zip(batch, rows, found.T, strict=True):
            log = column[: max(0, len(row) - 1)]
            yield line, _score(model, row, log, line + line_feed, unscored=row[: 1 - len(mark)])


def _score(
    model: LanguageModel, ids: Tensor, found: Tensor, text: str, *, unscored: Tensor
) -> Score:
    """The score of ``text``, whose tokens ``ids`` but the first have the log-probabilities."""
    unk = model.vocabulary.unk
    return Score(
        log_probability=float(found.sum()),
        tokens=len(found),
        characters=len(text) - len(model.vocabulary.decode(unscored.tolist())),
        unknown=0 if unk is None else int((ids[1:] == unk).sum()),
    )
