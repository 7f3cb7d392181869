"""Training from Python in one call."""

from __future__ import annotations

from pathlib import Path

import pytest

from unrolled.data.vocabulary import Vocabulary
from unrolled.errors import DataError, TrainingError
from unrolled.models import LanguageModel, LanguageModelConfig
from unrolled.tasks import fit_text
from unrolled.train import TrainConfig

TEXT = "the quick brown fox jumps over the lazy dog. " * 60
CONFIG = TrainConfig(max_steps=60, epochs=100, batch_size=4, learning_rate=0.02)


def fresh() -> LanguageModel:
    vocabulary = Vocabulary.build([TEXT], "char")
    return LanguageModel(LanguageModelConfig(cell="gru", hidden_size=32), vocabulary)


def test_the_model_learns_and_is_saved(tmp_path: Path) -> None:
    result = fit_text(fresh(), TEXT, tmp_path / "fox", CONFIG, window=16)
    assert result.progress.step == 60
    assert result.progress.best is not None
    assert result.progress.best < 1.0
    loaded = LanguageModel.from_pretrained(tmp_path / "fox")
    assert "".join(loaded.generate("the quick br", length=6, temperature=0.05, seed=0)) == "own fo"


def test_a_model_is_not_overwritten(tmp_path: Path) -> None:
    fresh().save_pretrained(tmp_path / "fox")
    before = (tmp_path / "fox" / "model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match="holds a model"):
        fit_text(fresh(), TEXT, tmp_path / "fox", CONFIG, window=16)
    assert (tmp_path / "fox" / "model.safetensors").read_bytes() == before


def test_a_text_shorter_than_a_window_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="window"):
        fit_text(fresh(), "short", tmp_path / "fox", CONFIG, window=16)


def test_a_fraction_of_everything_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"at least 0 and below 1, not 1\.0"):
        fit_text(fresh(), TEXT, tmp_path / "fox", CONFIG, window=16, validation_fraction=1.0)
