"""A language model of a composed cell with noise: trained, saved as equations, loaded."""

from __future__ import annotations

from pathlib import Path

import torch

from unrolled.data.vocabulary import Vocabulary
from unrolled.models import LanguageModel, LanguageModelConfig

SOURCE = """
import unrolled as ur
from unrolled import cells

mine = ur.residual(ur.layer_norm(ur.zoneout(cells.lstm_one_bias, h=0.3, c=0.3), "h"), project=True)
"""


def test_a_saved_model_computes_what_it_did_in_evaluation(tmp_path: Path) -> None:
    torch.manual_seed(0)
    (tmp_path / "own.py").write_text(SOURCE, encoding="utf-8")
    config = LanguageModelConfig(
        cell=f"{tmp_path / 'own.py'}:mine", embedding_size=7, hidden_size=11, num_layers=2
    )
    model = LanguageModel(config, Vocabulary.build(["some text"], "char"))
    tokens = torch.tensor([[0, 1], [2, 3], [4, 1]])
    first, _ = model(tokens, model.initial_state(2))
    again, _ = model(tokens, model.initial_state(2))
    assert not torch.equal(first, again), "noise in training"
    model.eval()
    expected, _ = model(tokens, model.initial_state(2))
    assert torch.equal(model(tokens, model.initial_state(2))[0], expected)
    model.save_pretrained(tmp_path / "model")
    loaded = LanguageModel.from_pretrained(tmp_path / "model")
    assert torch.equal(loaded(tokens, loaded.initial_state(2))[0], expected)
    assert [s.shape for s in loaded.initial_state(2)] == [(2, 2, 11), (2, 2, 11)]
    equations = (tmp_path / "model" / "equations.json").read_text()
    assert "residual(layer_norm(zoneout(lstm_one_bias" in equations
