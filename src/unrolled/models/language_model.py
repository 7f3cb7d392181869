"""The recurrent language model: embedding or one-hot, recurrent layers of any cell, linear.

The network predicts each token of a text from those before it (Mikolov et al., "Recurrent neural
network based language model", 2010). Dropout stands on the connections that are not recurrent
(Zaremba, Sutskever, Vinyals, "Recurrent neural network regularization", 2014); the output may use
the embedding's weights (Press, Wolf, "Using the output embedding to improve language models",
2017).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cell import Cell
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ModelError
from unrolled.models.config import LanguageModelConfig
from unrolled.models.generation import generate
from unrolled.models.layers import build, output_size, state_shapes
from unrolled.models.pretrained import Pretrained
from unrolled.models.sampling import Sampling
from unrolled.models.scoring import log_probabilities

State = tuple[Tensor, ...]


class LanguageModel(Pretrained[LanguageModelConfig]):
    """A network that gives each next token its probability.

    Args:
        config: What it is built of.
        vocabulary: Its tokens.
        cell: The cell to use instead of looking up ``config.cell``, which then only names it.

    Raises:
        ModelError: where there is no such cell, a given cell has a drop-in's name, or tied weights
            don't fit.
        CellError: where the cell can't be built with these sizes.
    """

    KIND = "language model"
    CONFIG = LanguageModelConfig

    def __init__(
        self, config: LanguageModelConfig, vocabulary: Vocabulary, cell: Cell | None = None
    ) -> None:
        super().__init__()
        self.config = config
        self.vocabulary = vocabulary
        size = len(vocabulary)
        embedded = config.embedding_size
        self.embedding = nn.Embedding(size, embedded) if embedded else None
        self.recurrent = build(config, embedded or size, cell)
        self.dropout = nn.Dropout(config.dropout)
        features = output_size(self.recurrent)
        if config.tied and features != embedded:
            raise ModelError(
                f"tied weights need an embedding as long as the output of the layers: "
                f"embedding_size is {embedded}, that output has {features}; make them the same"
            )
        # One parameter under one name, also where it serves twice.
        self.output_weight = None if config.tied else nn.Parameter(torch.empty(size, features))
        self.output_bias = nn.Parameter(torch.empty(size))
        bound = 1 / math.sqrt(features)
        for parameter in (self._weight(), self.output_bias):
            nn.init.uniform_(parameter, -bound, bound)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.output_bias.device

    def _weight(self) -> Tensor:
        """The output's weights ``[V, features]``: its own, or the embedding's."""
        own = self.output_weight
        return cast("nn.Embedding", self.embedding).weight if own is None else own

    def forward(self, tokens: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """The logits of each next token.

        Args:
            tokens: Ids ``[T, B]``, int64, on the model's device.
            state: What an earlier call returned for the tokens before these; zeros where None.

        Returns:
            Logits ``[T, B, V]`` in the parameters' dtype, and the state after the last token: a
            tuple of tensors ``[layers, B, size]``.

        Raises:
            ValueError: where ``tokens`` has another number of dimensions or no step.
            TypeError: where ``tokens`` is not int64.
            IndexError: where an id is outside the vocabulary (seen on the CPU).
            RuntimeError: where ``tokens`` or ``state`` are on another device, or ``state`` is of
                another shape.
        """
        return self.from_vectors(self.vectors(tokens), state)

    def vectors(self, tokens: Tensor) -> Tensor:
        """What the layers read ``[T, B, D]`` of tokens ``[T, B]``: embeddings, or one-hot vectors.

        Raises as :meth:`forward` does.
        """
        self._check(tokens)
        if self.embedding is None:
            return F.one_hot(tokens, len(self.vocabulary)).to(self.output_bias.dtype)
        return self.embedding(tokens)

    def from_vectors(self, x: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """:meth:`forward` of vectors ``[T, B, D]`` in the place of tokens."""
        given = state[0] if state is not None and len(state) == 1 else state
        y, carried = self.recurrent(self.dropout(x), given)
        logits = F.linear(self.dropout(y), self._weight(), self.output_bias)
        return logits, (carried,) if isinstance(carried, Tensor) else carried

    def _check(self, tokens: Tensor) -> None:
        if tokens.dim() != 2 or tokens.numel() == 0:
            raise ValueError(
                "expected token ids of shape [T, B] with T and B at least 1, got "
                f"{list(tokens.shape)}; one sequence is tokens.unsqueeze(1)"
            )
        if tokens.dtype != torch.int64:
            raise TypeError(f"expected int64 token ids, got {tokens.dtype}: call tokens.long()")
        if tokens.device != self.device:
            raise RuntimeError(
                f"expected token ids on {self.device}, where the model is, got them on "
                f"{tokens.device}: call tokens.to(model.device)"
            )
        if tokens.device.type == "cpu":  # elsewhere it would wait for the device
            size = len(self.vocabulary)
            for index in (int(tokens.min()), int(tokens.max())):
                if not 0 <= index < size:
                    raise IndexError(
                        f"token id {index} is not in the vocabulary, which has {size} tokens, 0 to "
                        f"{size - 1}"
                    )

    def initial_state(self, batch_size: int) -> State:
        """The state before the first token: zeros."""
        shapes = state_shapes(self.recurrent, batch_size)
        return tuple(self.output_bias.new_zeros(shape) for shape in shapes)

    @staticmethod
    def detach(state: State) -> State:
        """The same state, through which no gradient flows: the cut of truncated BPTT."""
        return tuple(s.detach() for s in state)

    def encode(self, text: str) -> Tensor:
        """The ids of ``text``, int64 ``[n]`` on the CPU.

        Raises:
            DataError: where a token is unknown and there is no "<unk>".
        """
        return torch.from_numpy(self.vocabulary.encode(text).astype("int64"))

    def with_start(self, text: str) -> Tensor:
        """The ids of ``text`` as a document's beginning: behind "<eos>", where there is one."""
        eos = self.vocabulary.eos
        start = torch.tensor([] if eos is None else [eos], dtype=torch.int64)
        return torch.cat([start, self.encode(text)])

    def log_probability(self, text: str) -> Tensor:
        """The log-probability of each token of ``text`` as a document's beginning.

        Returns:
            ``[n]`` for n tokens, float64 on the CPU, in nats; ``[n - 1]`` where the vocabulary has
            no "<eos>", since then nothing stands before the first.
        """
        found, _ = log_probabilities(self, self.with_start(text).unsqueeze(1))
        return found[:, 0]

    def generate(
        self,
        prompt: str = "",
        length: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Text that follows ``prompt``, as a stream of pieces.

        Draws from a generator of its own: the same seed gives the same text, and torch's global
        generator is not touched. "<unk>" is never drawn.

        Args:
            prompt: The text to go on with, as a document's beginning; it is not given back.
            length: How many tokens to draw; fewer where the model draws "<eos>".
            temperature: Below 1 the likely gets likelier; 0 takes the likeliest token.
            top_k: Draw from the so many likeliest tokens only.
            top_p: Draw from the likeliest tokens only that together have this probability.
            seed: Where the draws start; None is different each time.

        Raises:
            UserError: where an argument is out of its range, or there is no prompt and no "<eos>".
            DataError: where the prompt holds unknown tokens and there is no "<unk>".
        """
        sampling = Sampling(temperature, top_k, top_p)
        return generate(self, prompt, length, sampling, seed)

    def knowledge(self) -> Mapping[str, object]:
        """Its vocabulary."""
        return self.vocabulary.to_dict()

    @classmethod
    def built(
        cls, config: LanguageModelConfig, known: Mapping[str, Any], cell: Cell | None
    ) -> LanguageModel:
        """See ``Pretrained.built``."""
        return cls(config, Vocabulary.from_dict(known), cell)
