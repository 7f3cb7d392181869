"""Attention: what each position of one sequence takes from all positions of another.

Luong, Pham and Manning, "Effective approaches to attention-based neural machine translation", 2015:
global attention with the scores "dot", ``q · k``, and "general", ``q · W k``. Scores are divided by
the square root of the keys' length, so that the softmax starts out soft whatever the sizes are
(Vaswani et al., "Attention is all you need", 2017, section 3.2.1).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from unrolled.errors import ModelError

Score = Literal["general", "dot"]


class Attention(nn.Module):
    """Contexts: means of a memory's vectors, weighted by how they suit each query.

    Args:
        query_size: The length of a query.
        memory_size: The length of a vector in the memory.
        score: "general" has a matrix between the two; "dot" needs both to be as long as each other.

    Raises:
        ModelError: where "dot" is given unequal lengths.
    """

    def __init__(self, query_size: int, memory_size: int, score: Score = "general") -> None:
        super().__init__()
        if score == "dot" and query_size != memory_size:
            raise ModelError(
                f"dot attention needs outputs of encoder and decoder that are equally long, not "
                f"{memory_size} and {query_size}: take general attention, or set bidirectional to "
                "false"
            )
        self.scale = 1 / math.sqrt(memory_size)
        self.weight = None
        if score == "general":
            self.weight = nn.Parameter(torch.empty(query_size, memory_size))
            nn.init.xavier_uniform_(self.weight)

    def forward(
        self, queries: Tensor, memory: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Attends.

        Args:
            queries: ``[T, B, query size]``; the T of an example see the same memory.
            memory: ``[S, B, memory size]``.
            lengths: How many vectors of each memory count, int64 ``[B]`` from 1 to S; all where
                None.

        Returns:
            The contexts ``[T, B, memory size]`` and the weights ``[T, B, S]``, which add up to 1
            over S and are 0 behind the lengths.
        """
        if self.weight is not None:
            queries = queries @ self.weight
        scores = torch.einsum("tbk,sbk->bts", queries * self.scale, memory)
        if lengths is not None:
            places = torch.arange(len(memory), device=memory.device)
            behind = places >= lengths.to(memory.device).unsqueeze(1)
            scores = scores.masked_fill(behind.unsqueeze(1), -math.inf)
        weights = scores.softmax(-1)
        contexts = torch.einsum("bts,sbk->tbk", weights.to(memory.dtype), memory)
        return contexts, weights.transpose(0, 1)

    def extra_repr(self) -> str:
        """The sizes, or that there is no matrix."""
        return "dot" if self.weight is None else "general, {}, {}".format(*self.weight.shape)
