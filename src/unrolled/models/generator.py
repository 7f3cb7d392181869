"""The generator: from a label to a sequence of tokens or of binary frames, step by step.

Each step's distribution is given what came before it and the label (Graves, "Generating sequences
with recurrent neural networks", 2013). The label's vector joins the input of each step, and the
state before the first is a linear function of it. A token is drawn from a softmax; of a frame, such
as the keys of a piano that sound, each key is drawn by itself (the "RNN" of Boulanger-Lewandowski,
Bengio, Vincent, "Modeling temporal dependencies in high-dimensional sequences", 2012).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn import functional as F

from unrolled.cell import Cell
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ModelError, UserError
from unrolled.models.background import Background
from unrolled.models.drawing import draw
from unrolled.models.generator_config import GeneratorConfig
from unrolled.models.generator_input import (
    check_frames,
    check_labels,
    check_places,
    check_tokens,
    encode_frames,
    encode_text,
    place_of,
)
from unrolled.models.layers import build, output_size, state_shapes
from unrolled.models.modes import evaluating
from unrolled.models.pretrained import Pretrained
from unrolled.models.sampling import Sampling
from unrolled.models.step_losses import step_losses
from unrolled.nn import Recurrent

State = tuple[Tensor, ...]


class Generator(Pretrained[GeneratorConfig]):
    """A network that gives each next step of a sequence its probability, for a label.

    Args:
        config: What it is built of.
        labels: The labels, each once.
        steps: What a step is: a token of this vocabulary, which has "<eos>" for a sequence's end;
            or a frame of so many keys, each of them 0 or 1.
        background: What the training data are like without a model, for reports to compare with.
        cell: The cell to use instead of looking up ``config.cell``, which then only names it.

    Raises:
        ModelError: where labels are missing or repeat, the vocabulary has no "<eos>", or there is
            no such cell.
        CellError: where the cell can't be built with these sizes.
    """

    KIND = "generator"
    CONFIG = GeneratorConfig

    def __init__(
        self,
        config: GeneratorConfig,
        labels: Sequence[str],
        steps: Vocabulary | int,
        background: Background | None = None,
        cell: Cell | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.labels = check_labels(labels)
        self.vocabulary = steps if isinstance(steps, Vocabulary) else None
        self.size = len(steps) if isinstance(steps, Vocabulary) else _keys(steps)
        self.background = background
        if self.vocabulary is not None and self.vocabulary.eos is None:
            raise ModelError("a generator's vocabulary needs <eos>, which ends each sequence")
        embedded = config.embedding_size
        self.embedding = None
        if embedded:
            # A frame's vector is the sum of the vectors of the keys that are on.
            kind = nn.Linear if self.vocabulary is None else nn.Embedding
            self.embedding = kind(self.size, embedded)
        self.label_embedding = nn.Embedding(len(self.labels), config.label_size)
        self.recurrent = build(config, (embedded or self.size) + config.label_size, cell)
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.dropout = nn.Dropout(config.dropout)
        shapes = state_shapes(self.recurrent, 1)
        self.initial = nn.Linear(config.label_size, sum(rows * n for rows, _, n in shapes))
        self.output = nn.Linear(output_size(self.recurrent), self.size)
        # All labels start as the layers do, and part in training.
        nn.init.zeros_(self.initial.weight)
        nn.init.zeros_(self.initial.bias)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.output.weight.device

    def forward(
        self,
        steps: Tensor,
        labels: Tensor,
        state: State | None = None,
        lengths: Tensor | None = None,
    ) -> tuple[Tensor, State]:
        """The logits of what follows each step.

        Args:
            steps: Token ids ``[T, B]``, int64, or frames ``[T, B, K]`` of zeros and ones in any
                dtype; ``inputs`` gives those that stand before each step of a sequence.
            labels: The labels' places in ``labels``: int64 ``[B]``.
            state: What an earlier call returned for the steps before these; None at a sequence's
                beginning.
            lengths: The steps of each sequence that are no padding: int64 ``[B]`` on the CPU; None
                where all are.

        Returns:
            Logits ``[T, B, V]``, of each token or each key, and the state after the last step: a
            tuple of tensors ``[layers, B, size]``.

        Raises:
            ValueError: where shapes don't fit, or a frame holds other values than 0 and 1 (seen on
                the CPU).
            TypeError: where tokens or labels are not int64.
            IndexError: where an id is outside the vocabulary, or a label's place outside the labels
                (seen on the CPU).
        """
        if self.vocabulary is None:
            check_frames(steps, self.size)
        else:
            check_tokens(steps, self.size)
        check_places(labels, steps.shape[1], len(self.labels))
        label = self.label_embedding(labels)
        x = torch.cat([self._vectors(steps), label.expand(len(steps), -1, -1)], -1)
        if state is None:
            state = self._initial(label)
        given = state[0] if len(state) == 1 else state
        y, carried = self.recurrent(self.input_dropout(x), given, lengths=lengths)
        logits = self.output(self.dropout(y))
        return logits, (carried,) if isinstance(carried, Tensor) else tuple(carried)

    @property
    def start(self) -> int:
        """What stands before a sequence: "<eos>", or the value of each key of an empty frame."""
        eos = None if self.vocabulary is None else self.vocabulary.eos
        return 0 if eos is None else eos

    def before(self, sequence: Tensor, first: Tensor | None = None) -> Tensor:
        """What stands before each step of a sequence and before what follows it.

        Args:
            sequence: Token ids ``[T, B]`` or frames ``[T, B, K]``; T may be 0.
            first: What stands before its first step, ``[B, ...]``; None for a sequence that begins.

        Returns:
            ``[T + 1, B, ...]``: "<eos>", an empty frame or ``first``, and the sequence.
        """
        if first is None:
            first = sequence.new_full(sequence.shape[1:], self.start)
        return torch.cat([first.unsqueeze(0), sequence])

    def losses(
        self,
        sequence: Tensor,
        labels: Tensor,
        lengths: Tensor | None = None,
        first: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The negative log-likelihood of each step of sequences, given those before it.

        Args:
            sequence: Token ids ``[T, B]``, "<eos>" at each end, or frames ``[T, B, K]``.
            labels: The labels' places: int64 ``[B]``.
            lengths: The steps of each that are no padding: int64 ``[B]`` on the CPU.
            first: What stands before them, where they are parts of longer ones: ``[B, ...]``. The
                state starts as a sequence's does.

        Returns:
            ``[T, B]`` in nats, float32 (float64 for a model in float64): of a frame, the sum over
            its keys; zero behind a sequence's end. And the logits ``[T, B, V]``.
        """
        logits, _ = self(self.before(sequence[:-1], first), labels, lengths=lengths)
        return step_losses(logits, sequence, lengths), logits

    @torch.no_grad()
    def log_probability(self, sequence: str | ArrayLike, label: str) -> Tensor:
        """The log-probability of each step of a sequence, and of its end where there is one.

        Args:
            sequence: A text, or frames ``[n, K]`` of zeros and ones.
            label: Its label.

        Returns:
            ``[n + 1]`` for n tokens, which "<eos>" ends, ``[n]`` for n frames: float64 on the CPU,
            in nats.

        Raises:
            UserError: where the label is unknown, or the sequence is not of the model's kind.
        """
        encoded = self._encode(sequence)
        if self.vocabulary is not None:
            encoded = torch.cat([encoded, torch.tensor([self.vocabulary.eos])])
        if len(encoded) == 0:
            return torch.zeros(0, dtype=torch.float64)
        labels = torch.tensor([place_of(label, self.labels)], device=self.device)
        with evaluating(self):
            found, _ = self.losses(encoded.unsqueeze(1).to(self.device), labels)
        return -found[:, 0].double().cpu()

    def generate(
        self,
        label: str,
        start: str | ArrayLike | None = None,
        length: int = 200,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float = 1.0,
        seed: int | None = None,
    ) -> Any:
        """A sequence with this label.

        Draws from a generator of its own: the same seed gives the same sequence, and torch's global
        generator is not touched. "<unk>" is never drawn.

        Args:
            label: What it is to be.
            start: How it begins: a text, or frames ``[n, K]``; None leaves that to the model.
            length: How many steps to draw; fewer where the model draws "<eos>".
            temperature: Below 1 the likely gets likelier; 0 takes the likeliest token, and the keys
                that are on with a probability above one half.
            top_k: Draw from the so many likeliest tokens only.
            top_p: Draw from the likeliest tokens only that together have this probability.
            seed: Where the draws start; None starts anywhere.

        Returns:
            A text, or frames uint8 ``[n, K]``; ``start`` stands at its beginning.

        Raises:
            UserError: where the label is unknown, ``start`` is empty or not of the model's kind, or
                another value is out of its range.
            ModelError: where the model's output is not finite.
        """
        place = place_of(label, self.labels)
        sampling = Sampling(temperature, top_k, top_p)
        if start is None:
            encoded = torch.zeros(0, dtype=torch.int64)
            if self.vocabulary is None:
                encoded = torch.zeros(0, self.size, dtype=torch.uint8)
        else:
            encoded = self._encode(start)
            if len(encoded) == 0:
                raise UserError("the start is empty: give at least one step, or leave it out")
        drawn = draw(self, place, encoded, length, sampling, seed)
        return drawn.numpy() if self.vocabulary is None else self.vocabulary.decode(drawn.tolist())

    def knowledge(self) -> Mapping[str, object]:
        """Its labels, its vocabulary or number of keys, and what the training data were like."""
        return {
            "labels": list(self.labels),
            "vocabulary": None if self.vocabulary is None else self.vocabulary.to_dict(),
            "keys": self.size if self.vocabulary is None else None,
            "background": None if self.background is None else self.background.to_dict(),
        }

    @classmethod
    def built(
        cls, config: GeneratorConfig, known: Mapping[str, Any], cell: Cell | None
    ) -> Generator:
        """See ``Pretrained.built``."""
        labels, vocabulary, counts = known["labels"], known["vocabulary"], known["background"]
        steps = known["keys"] if vocabulary is None else Vocabulary.from_dict(vocabulary)
        model = cls(config, labels, steps, cell=cell)
        if counts is not None:
            model.background = Background.from_dict(counts, len(labels), model.size)
        return model

    def _vectors(self, steps: Tensor) -> Tensor:
        """What the first layer reads of the steps: ``[T, B, E]``, or ``[T, B, V]`` as they are."""
        dtype = self.output.weight.dtype
        if self.vocabulary is None:
            frames = steps.to(dtype)
            return frames if self.embedding is None else self.embedding(frames)
        if self.embedding is None:
            return F.one_hot(steps, self.size).to(dtype)
        return self.embedding(steps)

    def _initial(self, label: Tensor) -> State:
        """The state before the first step, for labels' vectors ``[B, size]``."""
        batch_size = len(label)
        parts: list[Tensor] = []
        shapes = state_shapes(self.recurrent, batch_size)
        flat = self.initial(label).to(self.output.weight.dtype)
        sizes = [rows * n for rows, _, n in shapes]
        for part, (rows, _, n) in zip(flat.split(sizes, -1), shapes, strict=True):
            parts.append(part.view(batch_size, rows, n).transpose(0, 1))
        if not isinstance(self.recurrent, Recurrent):
            return tuple(parts)
        own = self.recurrent.initial_state(batch_size)
        return tuple(a + b for a, b in zip(parts, own, strict=True))

    def _encode(self, sequence: str | ArrayLike) -> Tensor:
        if self.vocabulary is None:
            return encode_frames(sequence, self.size)
        return encode_text(sequence, self.vocabulary)


def _keys(keys: object) -> int:
    if type(keys) is not int or keys < 1:
        raise ModelError(f"a frame has a whole number of keys, at least 1, not {keys!r}")
    return keys
