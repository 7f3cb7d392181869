"""Beam search: the likeliest endings that a model finds when it keeps a few at a time.

Each source has so many slots. At each step every live hypothesis is followed by every token, and
the likeliest of all these take the free slots (Graves, "Sequence transduction with recurrent neural
networks", 2012). One that ends keeps its slot for good and the others have one fewer (Sutskever,
Vinyals and Le, "Sequence to sequence learning with neural networks", 2014): one slot is greedy
search, and as many slots as there are hypotheses is enumeration. At the longest length everything
must end. Finished hypotheses are ranked by their log-probability over a power of their length (Wu
et al., "Google's neural machine translation system", 2016, equation 14 in its simplest form).
A source is done once no live hypothesis can get among its best, which loses nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.errors import ModelError, UserError

State = tuple[Tensor, ...]

Step = Callable[[Tensor, State, Tensor], tuple[Tensor, State]]
"""From tokens ``[K, B]``, the states before them (``[layers, K * B, size]`` each) and which sources
the B are, to log-probabilities ``[K, B, V]`` of what follows, and the states after them."""


@dataclass(frozen=True)
class Beam:
    """How to search.

    Attributes:
        width: The slots of each source: 1 is greedy search.
        n_best: How many hypotheses to give back of each source, if so many end; at most ``width``.
        max_length: The most tokens of a hypothesis, its end not counted.
        length_penalty: The power of the length, end included, that a log-probability is divided by
            for its rank; 0 ranks by probability, which favours the short.

    Raises:
        UserError: where a value is out of its range.
    """

    width: int = 1
    n_best: int = 1
    max_length: int = 100
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("width", 1), ("n_best", 1), ("max_length", 0)):
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise UserError(
                    f"a beam's {name} is a whole number of at least {least}, not {value!r}"
                )
        if self.n_best > self.width:
            raise UserError(
                f"a beam of {self.width} finds at most so many hypotheses, not {self.n_best}: make "
                "it wider"
            )
        if not 0 <= self.length_penalty < math.inf:
            raise UserError(f"length_penalty is a number of at least 0, not {self.length_penalty}")


@dataclass(frozen=True)
class Hypothesis:
    """What a search found.

    Attributes:
        tokens: Its ids, without the one that ends it.
        log_probability: In nats, the end included.
        score: What it is ranked by: ``log_probability / (len(tokens) + 1) ** length_penalty``.
    """

    tokens: tuple[int, ...]
    log_probability: float
    score: float


@torch.no_grad()
def search(
    step: Step, state: State, eos: int, beam: Beam, barred: int | None = None
) -> list[list[Hypothesis]]:
    """The hypotheses of each source, the best first; equal ones in the order of their ids.

    Args:
        step: What the model says; it is only ever given states that it gave.
        state: The states that the B sources begin with, ``[layers, B, size]`` each.
        eos: The token that a hypothesis starts behind and ends with.
        beam: How to search.
        barred: A token that is never taken, such as "<unk>".

    Returns:
        For each source at least one hypothesis and at most ``beam.n_best``.

    Raises:
        ModelError: where the model's probabilities are no numbers.
    """
    n_sources, device = state[0].shape[1], state[0].device
    found: list[list[Hypothesis]] = [[] for _ in range(n_sources)]
    sources = torch.arange(n_sources)
    live = torch.zeros(1, n_sources, dtype=torch.float64)  # log-probabilities [K, B]
    prefixes = torch.empty(0, 1, n_sources, dtype=torch.int64)
    last = torch.full((1, n_sources), eos)
    for length in range(1, beam.max_length + 2):
        logs, state = step(last.to(device), state, sources.to(device))
        totals = live.unsqueeze(2) + _checked(logs)
        if barred is not None:
            totals[:, :, barred] = -math.inf
        if length > beam.max_length:
            totals[:, :, :eos] = totals[:, :, eos + 1 :] = -math.inf
        _, n, size = totals.shape
        values, chosen = largest(totals.transpose(0, 1).reshape(n, -1), beam.width)
        values, parents, last = values.T, (chosen // size).T, (chosen % size).T
        free = beam.width - torch.tensor([len(found[s]) for s in sources.tolist()])
        slots = torch.arange(len(values)).unsqueeze(1)
        values = values.masked_fill(slots >= free, -math.inf)
        ends = (last == eos) & (values > -math.inf)
        for slot, column in ends.nonzero().tolist():
            tokens = tuple(prefixes[:, parents[slot, column], column].tolist())
            log = float(values[slot, column])
            rank = log / length**beam.length_penalty
            found[int(sources[column])].append(Hypothesis(tokens, log, rank))
        live = values.masked_fill(ends, -math.inf)
        keep = _open(live, [found[s] for s in sources.tolist()], beam).nonzero().flatten()
        if len(keep) == 0:
            break
        # As many slots as the source with the most live hypotheses needs, those in front.
        alive = live[:, keep] > -math.inf
        order = alive.byte().argsort(dim=0, descending=True, stable=True)
        order = order[: int(alive.sum(0).max())]
        live, last, parents = (v[:, keep].gather(0, order) for v in (live, last, parents))
        columns = keep.expand_as(order)
        prefixes = torch.cat([prefixes[:, parents, columns], last.unsqueeze(0)])
        rows = (parents * n + columns).flatten().to(device)
        state = tuple(s.index_select(1, rows) for s in state)
        sources = sources[keep]
    ranked = [sorted(each, key=lambda h: (-h.score, h.tokens)) for each in found]
    return [each[: beam.n_best] for each in ranked]


def largest(values: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each row, falling; of equal ones those that stand first.

    ``torch.topk`` says nothing of which of equal values it takes, and a stable sort of all is slow.

    Args:
        values: ``[n, m]``, none of them NaN.
        k: How many; all where a row has fewer.

    Returns:
        The values and their places, ``[n, min(k, m)]`` each.
    """
    k = min(k, values.shape[1])
    least = values.topk(k).values[:, -1:]
    above, equal = values > least, values == least
    room = k - above.sum(1, keepdim=True)
    taken = above | (equal & (equal.cumsum(1) <= room))
    places = taken.nonzero()[:, 1].view(-1, k)
    found, order = values.gather(1, places).sort(stable=True, dim=1, descending=True)
    return found, places.gather(1, order)


def _checked(logs: Tensor) -> Tensor:
    """In float64 on the CPU, where sums over many steps stay apart."""
    logs = logs.detach().cpu().double()
    if logs.isnan().any():
        raise ModelError(
            "the model's probabilities are no numbers: its weights hold NaN or infinities, as "
            "after a training that diverged"
        )
    return logs


def _open(live: Tensor, found: list[list[Hypothesis]], beam: Beam) -> Tensor:
    """Which sources have a live hypothesis that may still count: bool ``[B]``.

    A log-probability only falls, and the longest length divides it by the most.
    """
    most = live.max(0).values / (beam.max_length + 1) ** beam.length_penalty
    scores = [sorted((h.score for h in each), reverse=True) for each in found]
    least = [s[beam.n_best - 1] if len(s) >= beam.n_best else -math.inf for s in scores]
    return (most > -math.inf) & (most >= torch.tensor(least, dtype=torch.float64))
