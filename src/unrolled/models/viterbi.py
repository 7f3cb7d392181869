"""The best sequence of tags among those that chunks allow (Viterbi 1967; Forney 1973).

In BIO (Ramshaw and Marcus, "Text chunking using transformation-based learning", 1995, as CoNLL-2000
writes it) a chunk of type X begins with B-X and goes on with I-X, O is outside: I-X stands only
behind B-X or I-X.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def is_bio(tags: Sequence[str]) -> bool:
    """Whether the tags mark chunks: each is O, B-type or I-type, and some begin one."""
    begins = any(tag.startswith("B-") for tag in tags)
    return begins and all(tag == "O" or tag[:2] in ("B-", "I-") for tag in tags)


def allowed(tags: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Which tags may begin a sequence, bool ``[K]``, and follow another, bool ``[K, K]`` by row."""
    start = torch.tensor([not tag.startswith("I-") for tag in tags])
    follows = [
        [not tag.startswith("I-") or before in (f"B-{tag[2:]}", tag) for tag in tags]
        for before in tags
    ]
    return start, torch.tensor(follows)


def best_paths(scores: Tensor, lengths: Tensor, start: Tensor, follows: Tensor) -> Tensor:
    """The allowed sequence with the largest sum of scores, for each example.

    Args:
        scores: ``[T, B, K]``.
        lengths: From 1 to T, int64 ``[B]`` on the CPU.
        start: Bool ``[K]``, at least one of them.
        follows: Bool ``[K, K]``; each tag has one that may follow.

    Returns:
        int64 ``[T, B]``; 0 past each end.
    """
    steps, batch, _ = scores.shape
    device = scores.device
    ends = lengths.to(device)
    barred = torch.zeros(follows.shape, device=device).masked_fill(~follows.to(device), -torch.inf)
    best = scores[0].float().masked_fill(~start.to(device), -torch.inf)
    came_from: list[Tensor] = []
    for t in range(1, steps):
        value, before = (best.unsqueeze(2) + barred).max(1)
        present = (t < ends).unsqueeze(1)
        best = torch.where(present, value + scores[t].float(), best)
        came_from.append(before)
    paths = torch.zeros(steps, batch, dtype=torch.int64, device=device)
    tag = best.argmax(1)
    for t in range(steps - 1, -1, -1):
        # Past its end an example waits with its last tag.
        paths[t] = torch.where(t < ends, tag, 0)
        if t:
            earlier = came_from[t - 1].gather(1, tag.unsqueeze(1)).squeeze(1)
            tag = torch.where(t < ends, earlier, tag)
    return paths
