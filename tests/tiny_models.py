"""Language models small enough to check by hand, for the tests that need one."""

from typing import Any

import torch

from unrolled.data.vocabulary import Vocabulary
from unrolled.models.language_model import LanguageModel, LanguageModelConfig

TEXT = "hello world\n"


def tiny(
    cell: str = "lstm", *, vocabulary: Vocabulary | None = None, seed: int = 0, **options: Any
) -> LanguageModel:
    """A model with two layers of 6 units over 12 characters, in evaluation mode."""
    settings: dict[str, Any] = {"embedding_size": 5, "hidden_size": 6, "num_layers": 2} | options
    torch.manual_seed(seed)
    config = LanguageModelConfig(cell, **settings)
    return LanguageModel(config, vocabulary or Vocabulary.build([TEXT], "char")).eval()
