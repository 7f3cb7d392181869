"""The tagger: a tag for each word of a sentence (many to many, of equal length).

Vectors of words, of their spellings and of further columns, recurrent layers in both directions,
a linear output for each word (Plank, Søgaard, Goldberg, "Multilingual part-of-speech tagging with
bidirectional LSTMs", 2016).  Where the tags mark chunks, the best sequence among those that BIO
allows is taken.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.data.labels import Labels
from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import ModelError
from unrolled.models.inputs import Spelling, Tokens, check_lengths, check_sequences
from unrolled.models.layers import build, output_size
from unrolled.models.modes import evaluating
from unrolled.models.pretrained import Pretrained
from unrolled.models.tagger_inputs import SPELLING, TaggerConfig, TaggerInputs, column
from unrolled.models.viterbi import allowed, best_paths, is_bio

_AT_ONCE = 128


class Tagger(Pretrained[TaggerConfig]):
    """A network that gives each word of a sentence the probability of each tag.

    Args:
        config: What it is built of.
        tags: What it tells apart, at least two.
        inputs: What it knows of its input.
        cell: The cell to use instead of looking up ``config.cell``, which then only names it.

    Raises:
        ModelError: where there is no such cell, or a given cell has a drop-in's name.
        DataError: where there are fewer than two tags, or one twice.
        CellError: where the cell can't be built with these sizes.
    """

    KIND = "tagger"
    CONFIG = TaggerConfig

    def __init__(
        self,
        config: TaggerConfig,
        tags: Sequence[str],
        inputs: TaggerInputs,
        cell: Cell | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.inputs = inputs
        self.usual: tuple[int, ...] = ()
        """Each word's most frequent tag in training by the word's id, where that is known: what
        the tagger is compared with."""
        self.tags = Labels(tuple(tags))
        self.words = Tokens(
            len(inputs.words), config.embedding_size, inputs.words.unk, config.token_dropout
        )
        size = config.embedding_size
        self.spelling: Spelling | None = None
        if inputs.characters is not None:
            self.spelling = Spelling(
                len(inputs.characters),
                config.character_size,
                config.character_hidden_size,
                config,
                cell,
            )
            size += self.spelling.output_size
        self.columns = nn.ModuleList(
            nn.Embedding(len(values), config.column_size) for values in inputs.columns.values()
        )
        size += config.column_size * len(inputs.columns)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.recurrent = build(config, size, cell, bidirectional=config.bidirectional)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(output_size(self.recurrent), len(self.tags))

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.output.weight.device

    @property
    def chunks(self) -> bool:
        """Whether the tags mark chunks in BIO."""
        return is_bio(self.tags.names)

    def forward(
        self,
        words: Tensor,
        lengths: Tensor | None = None,
        characters: Tensor | None = None,
        columns: Sequence[Tensor] = (),
    ) -> Tensor:
        """The logits of each tag for each word.

        Args:
            words: Ids ``[T, B]``, int64.
            lengths: The words of each sentence, from 1 to T, int64 ``[B]`` on the CPU; T each where
                None.
            characters: Ids from 1 up ``[T, B, SPELLING]`` with 0 behind each word's end, int64;
                None where spellings are not read.
            columns: Ids ``[T, B]`` of each further column, in the order of ``inputs.columns``.

        Returns:
            ``[T, B, K]`` in the parameters' dtype; of steps past a sentence's end the bias alone.

        Raises:
            ValueError: where shapes or lengths are others, or an input is missing or too many.
            TypeError: where a dtype is another.
            IndexError: where an id is none (seen on the CPU).
            RuntimeError: where an input is on another device.
        """
        like = self.output.weight
        check_sequences(words, "word ids", (), len(self.inputs.words), like)
        given = None if lengths is None else check_lengths(lengths, words)
        if len(columns) != len(self.columns) or (characters is None) != (self.spelling is None):
            read = "no characters" if self.spelling is None else "characters"
            raise ValueError(
                f"this tagger reads {read} and {len(self.columns)} further columns, got "
                f"{'no characters' if characters is None else 'characters'} and {len(columns)}"
            )
        vectors = [self.words(words)]
        if self.spelling is not None and characters is not None:
            n = len(cast("Vocabulary", self.inputs.characters)) + 1
            check_sequences(characters, "character ids", (SPELLING,), n, like)
            vectors.append(self.spelling(characters))
        for (name, values), embedding, ids in zip(
            self.inputs.columns.items(), self.columns, columns, strict=True
        ):
            check_sequences(ids, f"ids of column {name}", (), len(values), like)
            vectors.append(embedding(ids))
        y, _ = self.recurrent(self.embedding_dropout(torch.cat(vectors, 2)), lengths=given)
        return self.output(self.dropout(y))

    def decode(self, logits: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The tags of each word.

        Where they mark chunks, the likeliest sequence among those that BIO allows, each tag drawn
        by itself; else each word's likeliest tag.

        Args:
            logits: ``[T, B, K]``.
            lengths: From 1 to T, int64 ``[B]`` on the CPU; T each where None.

        Returns:
            int64 ``[T, B]`` on the logits' device; 0 past each end where the tags mark chunks.
        """
        if not self.chunks:
            return logits.argmax(2)
        given = check_lengths(lengths, logits)
        return best_paths(logits.log_softmax(2), given, *allowed(self.tags.names))

    def encode(
        self, words: Sequence[str], columns: Mapping[str, Sequence[str]] | None = None
    ) -> dict[str, NDArray[Any]]:
        """A sentence as the network reads it: see ``TaggerInputs.encode``.

        Raises:
            DataError: where it is empty, or the columns are others or of other lengths.
        """
        return self.inputs.encode(self.config, words, columns or {})

    def predict(
        self,
        sentences: Sequence[Sequence[str]],
        columns: Mapping[str, Sequence[Sequence[str]]] | None = None,
    ) -> list[list[str]]:
        """The tags of each sentence's words.

        Args:
            sentences: Words.
            columns: For each further column the values of each sentence.

        Raises:
            DataError: where a sentence can't be read.
        """
        beside = columns or {}
        rows = [
            self.encode(words, {name: values[i] for name, values in beside.items()})
            for i, words in enumerate(sentences)
        ]
        found: list[list[str]] = [[] for _ in rows]
        order = sorted(range(len(rows)), key=lambda i: len(sentences[i]))
        with evaluating(self), torch.no_grad():
            for begin in range(0, len(order), _AT_ONCE):
                places = order[begin : begin + _AT_ONCE]
                lengths = torch.tensor([len(sentences[i]) for i in places])
                padded = {
                    name: nn.utils.rnn.pad_sequence(
                        [torch.from_numpy(rows[i][name]) for i in places]
                    ).to(self.device)
                    for name in rows[places[0]]
                }
                tags = self.decode(self(lengths=lengths, **self.arguments(padded)), lengths).cpu()
                for place, of_sentence, n in zip(places, tags.T, lengths.tolist(), strict=True):
                    found[place] = [self.tags.names[i] for i in of_sentence[:n].tolist()]
        return found

    def arguments(self, encoded: Mapping[str, Tensor]) -> dict[str, Any]:
        """What ``forward`` takes besides lengths, from the padded columns of ``encode``."""
        return {
            "words": encoded["words"],
            "characters": encoded.get("characters"),
            "columns": [encoded[column(name)] for name in self.inputs.columns],
        }

    def knowledge(self) -> Mapping[str, object]:
        """Its tags, each word's usual one, and what it knows of its input."""
        return {
            "tags": self.tags.to_dict(),
            "usual": list(self.usual),
            **self.inputs.to_dict(),
        }

    @classmethod
    def built(cls, config: TaggerConfig, known: Mapping[str, Any], cell: Cell | None) -> Tagger:
        """See ``Pretrained.built``."""
        tags = Labels.from_dict(known["tags"])
        model = cls(config, tags.names, TaggerInputs.from_dict(known), cell)
        model.usual = _ids(known["usual"], len(model.inputs.words), len(tags))
        return model


def _ids(values: object, n: int, below: int) -> tuple[int, ...]:
    """Saved ids: none, or n of them."""
    listed = cast("list[object]", values) if isinstance(values, list) else [None]
    ids = tuple(v for v in listed if type(v) is int and 0 <= v < below)
    if len(ids) != len(listed) or len(ids) not in (0, n):
        raise ModelError(f"the usual tags of words are {n} numbers from 0 to {below - 1}, or none")
    return ids
