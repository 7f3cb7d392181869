"""Encoder–decoders small enough to check by hand, for the tests that need one."""

from typing import Any

import torch

from unrolled import Cell
from unrolled.data.vocabulary import Vocabulary
from unrolled.models.seq2seq import Seq2Seq
from unrolled.models.seq2seq_config import Seq2SeqConfig

SOURCE = Vocabulary.build(["abcdefgh"], "char")
TARGET = Vocabulary.build(["K AH R"], "item")
SIZES = {"elman_output": {"O": 4}, "elman_concat_output": {"O": 4}, "lstm_projected": {"P": 4}}


def tiny(
    cell: str = "lstm",
    *,
    source: Vocabulary = SOURCE,
    target: Vocabulary = TARGET,
    seed: int = 0,
    own: Cell | None = None,
    **options: Any,
) -> Seq2Seq:
    """A model of 6 units, in evaluation mode, whose weights are large enough to tell tokens."""
    settings: dict[str, Any] = {"embedding_size": 5, "hidden_size": 6, "max_length": 20} | options
    settings.setdefault("sizes", SIZES.get(cell, {}))
    torch.manual_seed(seed)
    model = Seq2Seq(Seq2SeqConfig(cell, **settings), source, target, own).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
    return model
