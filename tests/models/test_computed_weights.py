"""A model whose weights are computed is saved with what evaluation computes, and can be loaded."""

from pathlib import Path
from typing import Any

import pytest
import torch

from computed_weights import COMPUTED
from tiny_models import tiny
from unrolled.models.language_model import LanguageModel


@pytest.mark.parametrize("way", COMPUTED)
@pytest.mark.parametrize(("cell", "name"), [("lstm", "weight_hh_l1"), ("mgu", "U_l0")])
def test_round_trip(cell: str, name: str, way: str, tmp_path: Path) -> None:
    model: Any = tiny(cell)
    COMPUTED[way](model.recurrent, name)
    COMPUTED[way](model.embedding, "weight")
    COMPUTED[way](model, "output_weight")
    model.train().save_pretrained(tmp_path)
    assert model.recurrent.training
    loaded = LanguageModel.from_pretrained(tmp_path)
    tokens = torch.arange(11).unsqueeze(1)
    expected = model.eval()(tokens)[0]
    # The weights are the same numbers; the kernels may be others.
    torch.testing.assert_close(loaded(tokens)[0], expected, rtol=0, atol=1e-5)
