"""Models for a task: recurrent layers with what stands before and behind them."""

from unrolled.models.classifier import Classifier
from unrolled.models.classifier_config import ClassifierConfig
from unrolled.models.config import LanguageModelConfig
from unrolled.models.forecaster import Forecaster
from unrolled.models.forecaster_config import ForecasterConfig
from unrolled.models.generator import Generator
from unrolled.models.generator_config import GeneratorConfig
from unrolled.models.language_model import LanguageModel
from unrolled.models.loading import load
from unrolled.models.seq2seq import Seq2Seq
from unrolled.models.seq2seq_config import Seq2SeqConfig
from unrolled.models.tagger import Tagger
from unrolled.models.tagger_inputs import TaggerConfig, TaggerInputs

__all__ = [
    "Classifier",
    "ClassifierConfig",
    "Forecaster",
    "ForecasterConfig",
    "Generator",
    "GeneratorConfig",
    "LanguageModel",
    "LanguageModelConfig",
    "Seq2Seq",
    "Seq2SeqConfig",
    "Tagger",
    "TaggerConfig",
    "TaggerInputs",
    "load",
]
