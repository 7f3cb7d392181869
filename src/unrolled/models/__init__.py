"""Models for a task: recurrent layers with what stands before and behind them."""

from unrolled.models.config import LanguageModelConfig
from unrolled.models.language_model import LanguageModel

__all__ = ["LanguageModel", "LanguageModelConfig"]
