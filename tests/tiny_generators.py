"""Generators small enough to check by hand, of tokens and of frames."""

from typing import Any

import torch

from unrolled.cell import Cell
from unrolled.data.vocabulary import Vocabulary
from unrolled.models.generator import Generator
from unrolled.models.generator_config import GeneratorConfig

LABELS = ("low", "high", "wide")
LETTERS = Vocabulary.build(["abcde"], "char")
KEYS = 6


def tiny_generator(
    cell: str = "lstm", *, frames: bool = False, own: Cell | None = None, **options: Any
) -> Generator:
    """A model of two layers of 5 units with weights large enough to matter, in evaluation mode."""
    settings: dict[str, Any] = {
        "hidden_size": 5, "num_layers": 2, "embedding_size": 4, "label_size": 3,
    }  # fmt: skip
    torch.manual_seed(0)
    config = GeneratorConfig(cell, **(settings | options))
    model = Generator(config, LABELS, KEYS if frames else LETTERS, cell=own)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) / 2)
    return model.eval()


def random_steps(model: Generator, steps: int, batch: int, seed: int = 1) -> torch.Tensor:
    """Tokens ``[T, B]`` or frames ``[T, B, K]``."""
    generator = torch.Generator().manual_seed(seed)
    if model.vocabulary is None:
        return torch.randint(2, (steps, batch, model.size), generator=generator)
    return torch.randint(5, (steps, batch), generator=generator)
