"""The encoder–decoder with attention: one sequence to another of another length.

Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks", 2014; attention as
in Luong, Pham and Manning, "Effective approaches to attention-based neural machine translation",
2015.

An encoder reads the source in both directions. The decoder's first layer reads the target, each
token in its turn, starting from states that a bridge makes of the encoder's final ones. Its outputs
are the queries of an attention to the encoder's outputs, and further layers read outputs and
contexts side by side, as in Wu et al., "Google's neural machine translation system", 2016. So
attention stands between two layers, not in a loop: with the target given (teacher forcing) the
first layer runs over all of it at once, then attention is two products for all steps, then the
other layers run at once. A decoder whose first layer reads the last context (Bahdanau et al., 2015)
would have to come back from the compiled loop to attention at each step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cell import Cell
from unrolled.data.batch import Sequences
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ModelError
from unrolled.models.attention import Attention
from unrolled.models.beam import Beam
from unrolled.models.bridge import Bridge, State, as_given, as_tuple, own_initial
from unrolled.models.inputs import check_lengths, check_sequences
from unrolled.models.layers import build, output_size, state_shapes
from unrolled.models.pretrained import Pretrained
from unrolled.models.seq2seq_config import Seq2SeqConfig
from unrolled.models.translation import Translation, candidates, encode_source


@dataclass(frozen=True, eq=False)
class Encoded:
    """What the decoder reads of B sources.

    Attributes:
        outputs: The encoder's, ``[S, B, features]``.
        lengths: Int64 ``[B]`` on the CPU.
        state: What the decoder begins with: the states of its first layer and of the others, one
            after the other, ``[layers, B, size]`` each.
    """

    outputs: Tensor
    lengths: Tensor
    state: State

    def select(self, sources: Tensor) -> Encoded:
        """Those of some sources."""
        return Encoded(
            self.outputs.index_select(1, sources),
            self.lengths[sources.cpu()],
            tuple(s.index_select(1, sources) for s in self.state),
        )


class Seq2Seq(Pretrained[Seq2SeqConfig]):
    """A network that gives each next token of a target its probability, given a source.

    Args:
        config: What it is built of.
        source: The tokens that it reads.
        target: The tokens that it writes; "<eos>" stands before and after each target.
        cell: The cell to use instead of looking up ``config.cell``, which then only names it.

    Raises:
        ModelError: where there is no such cell, a given cell has a drop-in's name, the target's
            vocabulary has no "<eos>", or the sizes don't suit dot attention.
        CellError: where the cell can't be built with these sizes.
    """

    KIND = "sequence to sequence model"
    CONFIG = Seq2SeqConfig

    def __init__(
        self,
        config: Seq2SeqConfig,
        source: Vocabulary,
        target: Vocabulary,
        cell: Cell | None = None,
    ) -> None:
        super().__init__()
        if target.eos is None:
            raise ModelError(
                "a target needs an end: build the vocabulary of the targets with <eos>"
            )
        self.config = config
        self.source, self.target, self.eos = source, target, target.eos
        size = config.embedding_size
        self.source_embedding = nn.Embedding(len(source), size)
        self.target_embedding = nn.Embedding(len(target), size)
        self.encoder = build(config, size, cell, bidirectional=config.bidirectional)
        memory = output_size(self.encoder)
        self.first = build(replace(config, num_layers=1), size, cell)
        self.n_first = len(state_shapes(self.first, 1))
        query = output_size(self.first)
        self.attention = Attention(query, memory, config.attention)
        behind = replace(config, num_layers=config.decoder_layers)
        self.behind = build(behind, query + memory, cell)
        self.bridge = Bridge(self.encoder, (self.first, self.behind)) if config.bridge else None
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(output_size(self.behind), len(target))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.output.bias.device

    def forward(
        self,
        source: Tensor,
        inputs: Tensor,
        source_lengths: Tensor | None = None,
        input_lengths: Tensor | None = None,
    ) -> Tensor:
        """The logits of each next token, given the right ones before it (teacher forcing).

        Args:
            source: Ids ``[S, B]``, int64, on the model's device.
            inputs: Ids ``[T, B]`` of the targets, each behind "<eos>" and without one at its end.
            source_lengths: How many ids of each source count, int64 ``[B]`` from 1 to S; all where
                None. What stands behind them changes nothing.
            input_lengths: The same of ``inputs``.

        Returns:
            Logits ``[T, B, V]`` in the parameters' dtype; those behind the lengths mean nothing.

        Raises:
            ValueError: where a shape or a length doesn't fit.
            TypeError: where ids are not int64.
            IndexError: where an id is outside its vocabulary (seen on the CPU).
            RuntimeError: where ids are on another device.
        """
        encoded = self.encode(source, source_lengths)
        return self.decode(inputs, encoded, encoded.state, input_lengths)[0]

    def encode(self, source: Tensor, lengths: Tensor | None = None) -> Encoded:
        """Reads sources ``[S, B]``; see ``forward``."""
        weight = self.output.bias
        check_sequences(source, "source tokens", (), len(self.source), weight)
        known = check_lengths(lengths, source)
        x = self.dropout(self.source_embedding(source))
        outputs, final = self.encoder(x, lengths=None if lengths is None else known)
        decoder = (self.first, self.behind)
        state = tuple(s for layers in decoder for s in own_initial(layers, source.shape[1]))
        if self.bridge is not None:
            made = self.bridge(as_tuple(final))
            state = tuple(own + m for own, m in zip(state, made, strict=True))
        return Encoded(outputs, known, state)

    def decode(
        self, inputs: Tensor, encoded: Encoded, state: State, lengths: Tensor | None = None
    ) -> tuple[Tensor, State, Tensor]:
        """Reads some tokens of the targets, from the state before them on.

        Args:
            inputs: Ids ``[T, K * B]``: K targets of each of the B sources, the first targets of all
                sources first.
            encoded: The sources.
            state: ``encoded.state``, or what an earlier call returned, ``[layers, K * B, size]``.
            lengths: How many of the inputs count, int64 ``[K * B]``; all where None.

        Returns:
            Logits ``[T, K * B, V]``, the state after the last token of each, and the weights of the
            attention ``[T, K * B, S]``.
        """
        check_sequences(inputs, "target tokens", (), len(self.target), self.output.bias)
        steps, n = inputs.shape
        known = None if lengths is None else check_lengths(lengths, inputs)
        x = self.dropout(self.target_embedding(inputs))
        y, first = self.first(x, as_given(state[: self.n_first]), lengths=known)
        queries = y.reshape(-1, encoded.outputs.shape[1], y.shape[-1])
        contexts, weights = self.attention(queries, encoded.outputs, encoded.lengths)
        both = torch.cat([y, contexts.reshape(steps, n, -1)], -1)
        y, behind = self.behind(self.dropout(both), as_given(state[self.n_first :]), lengths=known)
        after = (*as_tuple(first), *as_tuple(behind))
        return self.output(self.dropout(y)), after, weights.reshape(steps, n, -1)

    def loss(self, source: Sequences, target: Sequences) -> Tensor:
        """The cross-entropy summed over all targets and their ends, label smoothing in training.

        Szegedy et al., "Rethinking the inception architecture for computer vision", 2016, section
        7, has label smoothing.

        Args:
            source: Ids ``[S, B]`` on the model's device.
            target: Ids ``[T, B]``, without "<eos>"; one may be empty.

        Returns:
            A float32 scalar, in nats; their number is ``target.steps() + B``.
        """
        inputs, wanted, lengths = self.framed(target)
        logits = self(source.data, inputs, source.lengths, lengths)
        present = Sequences(wanted, lengths).present()
        smoothing = self.config.label_smoothing if self.training else 0.0
        return F.cross_entropy(
            logits[present].float(), wanted[present], reduction="sum", label_smoothing=smoothing
        )

    def framed(self, target: Sequences) -> tuple[Tensor, Tensor, Tensor]:
        """What the decoder reads and what it should write, for targets without "<eos>".

        Returns:
            "<eos>" and the target, the target and "<eos>", int64 ``[T + 1, B]`` each, and how many
            of these count, int64 ``[B]`` on the CPU.
        """
        ids = target.data
        steps, batch = ids.shape
        lengths = torch.full((batch,), steps) if target.lengths is None else target.lengths
        border = ids.new_full((1, batch), self.eos)
        wanted = torch.cat([ids, border])
        ends = torch.stack([lengths, torch.arange(batch)]).to(ids.device)
        wanted = wanted.index_put(tuple(ends), border[0])
        return torch.cat([border, ids]), wanted, lengths + 1

    def translate(
        self, texts: Sequence[str], beam: int = 1, length_penalty: float = 1.0
    ) -> list[str]:
        """The best translation of each text that is found; see ``candidates``."""
        return [best.text for best, *_ in self.candidates(texts, beam, 1, length_penalty)]

    def candidates(
        self,
        texts: Sequence[str],
        beam: int = 1,
        n_best: int = 1,
        length_penalty: float = 1.0,
        batch_size: int = 64,
        *,
        attention: bool = False,
    ) -> list[list[Translation]]:
        """The best translations of each text that are found, the best first.

        "<unk>" is never written.

        Args:
            texts: The sources.
            beam: The hypotheses of each source that are kept at a time; 1 is greedy search.
            n_best: How many translations of each to give, at most ``beam``; fewer where fewer end.
            length_penalty: The power of the length, end included, that a log-probability is divided
                by for its rank; 0 ranks by probability, which favours the short.
            batch_size: How many sources stand side by side.
            attention: Whether to say what was attended to.

        Raises:
            UserError: where an argument is out of its range.
            DataError: where a text is empty, or holds unknown tokens and there is no "<unk>".
        """
        search = Beam(beam, n_best, self.config.max_length, length_penalty)
        sources = [encode_source(self, text) for text in texts]
        return candidates(self, sources, search, batch_size, attention=attention)

    def knowledge(self) -> Mapping[str, object]:
        """Its two vocabularies."""
        return {"source": self.source.to_dict(), "target": self.target.to_dict()}

    @classmethod
    def built(cls, config: Seq2SeqConfig, known: Mapping[str, Any], cell: Cell | None) -> Seq2Seq:
        """See ``Pretrained.built``."""
        source, target = (Vocabulary.from_dict(known[name]) for name in ("source", "target"))
        return cls(config, source, target, cell)
