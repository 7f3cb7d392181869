"""Each of the models, small, with batches to learn from and its loss in a loop of one's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from unrolled import Cell
from unrolled.data.batch import Sequences
from unrolled.data.lexicon import Lexicon
from unrolled.data.series_layout import Layout
from unrolled.data.vocabulary import Vocabulary
from unrolled.models import (
    Classifier,
    ClassifierConfig,
    Forecaster,
    ForecasterConfig,
    Generator,
    GeneratorConfig,
    LanguageModel,
    LanguageModelConfig,
    Seq2Seq,
    Seq2SeqConfig,
    Tagger,
    TaggerConfig,
    TaggerInputs,
)

LETTERS = Vocabulary("char", ("<eos>", "<unk>", "a", "b", "c"), unk=1, eos=0)
LENGTHS = torch.tensor([6, 3, 5])

Parts = tuple[Tensor, ...]
"""What a batch is made of: tensors, as any ``DataLoader`` gives them."""


def letters(seed: int, steps: int = 6, batch: int = 3) -> Tensor:
    """Ids of letters ``[T, B]``."""
    return 2 + torch.randint(3, (steps, batch), generator=torch.Generator().manual_seed(seed))


def _texts(seed: int) -> Parts:
    """Letters that follow each other in their order, from one or another on."""
    return (2 + (torch.arange(6).unsqueeze(1) + torch.arange(3) + seed) % 3,)


def _labelled(seed: int) -> Parts:
    """Letters in their order, from the one of their label on."""
    labels = (torch.arange(3) + seed) % 2
    return 2 + (torch.arange(6).unsqueeze(1) + labels) % 3, labels


@dataclass(frozen=True)
class Sample:
    """One model.

    Attributes:
        build: The model of a cell's name, or of a cell of one's own which that names.
        batch: A batch to learn from, by its seed.
        loss: Its mean loss on a batch.
        known: What ``vocabulary.json`` holds of it.
    """

    build: Callable[[str, Cell | None], Any]
    batch: Callable[[int], Parts]
    loss: Callable[[Any, Parts], Tensor]
    known: Any


def _language_model(name: str, own: Cell | None) -> LanguageModel:
    return LanguageModel(LanguageModelConfig(name, 6, embedding_size=4), LETTERS, own)


def _language_model_loss(model: LanguageModel, parts: Parts) -> Tensor:
    (tokens,) = parts
    logits, _ = model(tokens[:-1])
    return F.cross_entropy(logits.flatten(0, 1), tokens[1:].flatten())


def _classifier(name: str, own: Cell | None) -> Classifier:
    config = ClassifierConfig(name, 6, embedding_size=4, dropout=0.0)
    return Classifier(config, ("no", "yes", "perhaps"), LETTERS, own)


def _classifier_loss(model: Classifier, parts: Parts) -> Tensor:
    x, lengths, labels = parts
    return F.cross_entropy(model(x, lengths), labels)


def _tagger(name: str, own: Cell | None) -> Tagger:
    config = TaggerConfig(
        name, 6, embedding_size=4, character_size=3, character_hidden_size=3, column_size=2,
        dropout=0.0, embedding_dropout=0.0, token_dropout=0.0,
    )  # fmt: skip
    inputs = TaggerInputs(
        Lexicon(("it", "sat", "cat")), Vocabulary("char", ("<unk>", "i", "t"), unk=0),
        {"pos": Lexicon(("PR", "VB"))},
    )  # fmt: skip
    model = Tagger(config, ("B-NP", "I-NP", "O"), inputs, own)
    model.usual = (0, 2, 1, 2)
    return model


def _tagger_batch(seed: int) -> Parts:
    draw = torch.Generator().manual_seed(seed)
    words = torch.randint(4, (6, 3), generator=draw)
    characters = torch.randint(1, 4, (6, 3, 24), generator=draw)
    characters[..., 2:] = 0  # each word has two
    return words, characters, torch.randint(3, (6, 3), generator=draw), words % 3


def _tagger_loss(model: Tagger, parts: Parts) -> Tensor:
    words, characters, column, tags = parts
    logits = model(words, LENGTHS, characters, [column])
    present = Sequences(words, LENGTHS).present()
    return F.cross_entropy(logits[present], tags[present])


def _seq2seq(name: str, own: Cell | None) -> Seq2Seq:
    config = Seq2SeqConfig(name, 6, embedding_size=4, max_length=9)
    return Seq2Seq(config, LETTERS, Vocabulary("item", ("<eos>", "A", "B", "C"), eos=0), own)


def _seq2seq_loss(model: Seq2Seq, parts: Parts) -> Tensor:
    source, target = (Sequences(part, LENGTHS) for part in parts)
    return model.loss(source, target) / (target.steps() + len(LENGTHS))


def _generator(name: str, own: Cell | None) -> Generator:
    config = GeneratorConfig(name, 6, embedding_size=4, label_size=3)
    return Generator(config, ("low", "high"), LETTERS, cell=own)


def _generator_loss(model: Generator, parts: Parts) -> Tensor:
    sequence, labels = parts
    losses, _ = model.losses(sequence, labels, LENGTHS)
    return losses.sum() / LENGTHS.sum()


def _forecaster(name: str, own: Cell | None) -> Forecaster:
    config = ForecasterConfig(
        name, 6, horizon=2, season=2, context=6, quantiles=(0.1, 0.5, 0.9), head_size=4
    )
    return Forecaster(config, Layout(), own)


def _forecaster_batch(seed: int) -> Parts:
    t = torch.arange(8.0).unsqueeze(1) + 3 * seed + torch.arange(3.0)
    series = torch.sin(t) + 0.1 * t
    return series[:6], series[6:]


def _forecaster_loss(model: Forecaster, parts: Parts) -> Tensor:
    past, wanted = parts
    found, unit = model(past)
    off = (wanted.unsqueeze(-1) - found) / unit.unsqueeze(-1)
    levels = torch.tensor(model.config.quantiles)
    return torch.maximum(levels * off, (levels - 1) * off).mean()


_LETTERS = {"kind": "char", "tokens": ["<eos>", "<unk>", "a", "b", "c"], "unk": 1, "eos": 0}

SAMPLES: dict[str, Sample] = {
    "language model": Sample(_language_model, _texts, _language_model_loss, _LETTERS),
    "classifier": Sample(
        _classifier,
        lambda seed: (letters(seed), LENGTHS, letters(seed)[0] - 2),
        _classifier_loss,
        {"classes": {"names": ["no", "yes", "perhaps"]}, "inputs": _LETTERS},
    ),
    "tagger": Sample(
        _tagger,
        _tagger_batch,
        _tagger_loss,
        {
            "tags": {"names": ["B-NP", "I-NP", "O"]},
            "usual": [0, 2, 1, 2],
            "words": {"words": ["it", "sat", "cat"]},
            "characters": {"kind": "char", "tokens": ["<unk>", "i", "t"], "unk": 0, "eos": None},
            "columns": {"pos": {"words": ["PR", "VB"]}},
        },
    ),
    "sequence to sequence model": Sample(
        _seq2seq,
        lambda seed: (letters(seed), letters(seed) - 1),
        _seq2seq_loss,
        {
            "source": _LETTERS,
            "target": {"kind": "item", "tokens": ["<eos>", "A", "B", "C"], "unk": None, "eos": 0},
        },
    ),
    "generator": Sample(
        _generator,
        _labelled,
        _generator_loss,
        {"labels": ["low", "high"], "vocabulary": _LETTERS, "keys": None, "background": None},
    ),
    "forecaster": Sample(
        _forecaster,
        _forecaster_batch,
        _forecaster_loss,
        {
            "columns": {"value": None, "time": None, "id": None, "known": [], "past": []},
            "frequency": None,
            "calendar": False,
            "known": [],
            "past": [],
        },
    ),
}
"""By what ``config.json`` says that a model is."""


def build(kind: str, cell: str = "gru", own: Cell | None = None) -> Any:
    """A model with first weights of a seed's."""
    torch.manual_seed(0)
    return SAMPLES[kind].build(cell, own)
