"""Texts through an encoder–decoder, and what it writes for them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from unrolled.errors import DataError, UserError
from unrolled.models.beam import Beam, Hypothesis, State, Step, search
from unrolled.models.modes import evaluating

if TYPE_CHECKING:
    from unrolled.models.seq2seq import Encoded, Seq2Seq


@dataclass(frozen=True, eq=False)
class Translation:
    """What a model writes for a source.

    Attributes:
        text: The target.
        tokens: Its ids, without "<eos>".
        log_probability: That of its tokens and its end, in nats.
        score: What it was ranked by: ``log_probability / (len(tokens) + 1) ** length_penalty``.
        attention: What each token, and the end, took from each token of the source: float32
            ``[len(tokens) + 1, S]`` on the CPU, rows add up to 1; None where it wasn't asked for.
    """

    text: str
    tokens: tuple[int, ...]
    log_probability: float
    score: float
    attention: Tensor | None = None


def encode_source(model: Seq2Seq, text: str) -> Tensor:
    """The ids of a source, int64 ``[S]`` on the CPU.

    Raises:
        DataError: where there is none, or a token is unknown and there is no "<unk>".
    """
    ids = torch.from_numpy(model.source.encode(text).astype("int64"))
    if len(ids) == 0:
        raise DataError(f"the source {text!r} is empty: it needs at least one token")
    return ids


@torch.no_grad()
def candidates(
    model: Seq2Seq, sources: Sequence[Tensor], beam: Beam, batch_size: int, *, attention: bool
) -> list[list[Translation]]:
    """The best translations of each source, the best first; see ``Seq2Seq.candidates``.

    Args:
        model: The encoder–decoder.
        sources: What ``encode_source`` gave.
        beam: How to search.
        batch_size: How many sources stand side by side, those of like length together.
        attention: Whether to say what was attended to.
    """
    if batch_size < 1:
        raise UserError(f"batch_size is a whole number of at least 1, not {batch_size}")
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    found: dict[int, list[Translation]] = {}
    with evaluating(model):
        for begin in range(0, len(order), batch_size):
            places = order[begin : begin + batch_size]
            lengths = torch.tensor([len(sources[i]) for i in places])
            encoded = model.encode(
                pad_sequence([sources[i] for i in places]).to(model.device), lengths
            )
            hypotheses = search(
                _step_by_step(model, encoded), encoded.state, model.eos, beam, model.target.unk
            )
            for column, (place, best) in enumerate(zip(places, hypotheses, strict=True)):
                weights: list[Tensor | None] = [None] * len(best)
                if attention:
                    one = encoded.select(torch.tensor([column], device=model.device))
                    weights = [_weights(model, one, h) for h in best]
                found[place] = [
                    Translation(
                        model.target.decode(h.tokens), h.tokens, h.log_probability, h.score, w
                    )
                    for h, w in zip(best, weights, strict=True)
                ]
    return [found[i] for i in range(len(sources))]


def _step_by_step(model: Seq2Seq, encoded: Encoded) -> Step:
    """The decoder, one token at a time, for those sources that are not done."""
    now = encoded

    def step(tokens: Tensor, state: State, sources: Tensor) -> tuple[Tensor, State]:
        nonlocal now
        if len(sources) != len(now.lengths):  # they only get fewer
            now = encoded.select(sources)
        logits, after, _ = model.decode(tokens.reshape(1, -1), now, state)
        return logits[0].float().log_softmax(-1).view(*tokens.shape, -1), after

    return step


def _weights(model: Seq2Seq, encoded: Encoded, found: Hypothesis) -> Tensor:
    """What one target attended to in its source, by one run over the whole of it."""
    inputs = torch.tensor([[model.eos, *found.tokens]], device=model.device).T
    _, _, weights = model.decode(inputs, encoded, encoded.state)
    return weights[:, 0, : int(encoded.lengths)].float().cpu()
