"""Every model in a loop written by hand and in Lightning's: plain modules, nothing around them.

Both loops get the same batches, so they make the same updates, bit for bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import lightning
import pytest
import torch
from torch.utils.data import DataLoader

from six_models import SAMPLES, Parts, Sample, build
from unrolled import Cell, cell, param

BATCHES, EPOCHS = 4, 15
RATE = 0.03


@cell
def own(x, h, *, U=param("H", "D"), V=param("H", "H"), keep=0.5):
    return keep * h + (1 - keep) * torch.tanh(U @ x + V @ h)


CELLS: dict[str, Cell | None] = {"gru": None, "mine": own}
ALL = pytest.mark.parametrize("kind", SAMPLES)
EACH = pytest.mark.parametrize("name", CELLS)


class Learner(lightning.LightningModule):
    """A model, how its loss comes from a batch, and the losses so far."""

    def __init__(self, model: torch.nn.Module, sample: Sample) -> None:
        super().__init__()
        self.model, self.sample = model, sample
        self.losses: list[float] = []

    def training_step(self, batch: Parts, index: int) -> torch.Tensor:
        loss = self.sample.loss(self.model, batch)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=RATE)


def by_hand(model: torch.nn.Module, sample: Sample, batches: list[Parts]) -> list[float]:
    """The losses of a plain loop."""
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE)
    losses: list[float] = []
    for _ in range(EPOCHS):
        for batch in batches:
            loss = sample.loss(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return losses


def in_lightning(
    model: torch.nn.Module, sample: Sample, batches: list[Parts], root: Path
) -> list[float]:
    """The losses of Lightning's trainer."""
    learner = Learner(model, sample)
    trainer = lightning.Trainer(
        max_epochs=EPOCHS, accelerator="cpu", default_root_dir=root, logger=False, barebones=True,
    )  # fmt: skip
    loader: Any = DataLoader(cast("Any", batches), batch_size=None, num_workers=0)
    trainer.fit(learner, loader)
    return learner.losses


@EACH
@ALL
def test_a_loop_written_by_hand_and_lightning_learn_the_same(kind: str, name: str, tmp_path: Path):
    sample = SAMPLES[kind]
    batches = [sample.batch(seed) for seed in range(BATCHES)]
    ours, theirs = (build(kind, name, CELLS[name]).train() for _ in range(2))
    losses = by_hand(ours, sample, batches)
    assert sum(losses[-BATCHES:]) < 0.8 * sum(losses[:BATCHES])
    assert in_lightning(theirs, sample, batches, tmp_path) == losses
    first, second = ours.state_dict(), theirs.state_dict()
    assert first.keys() == second.keys()
    for parameter, value in first.items():
        assert torch.equal(value, second[parameter]), parameter


@ALL
def test_the_losses_tell_one_cell_from_the_other(kind: str):
    sample = SAMPLES[kind]
    batch = sample.batch(0)
    first, second = (sample.loss(build(kind, name, of).eval(), batch) for name, of in CELLS.items())
    assert first.item() != second.item()


def test_a_learned_model_is_saved_from_either_loop(tmp_path: Path):
    kind = "forecaster"
    sample = SAMPLES[kind]
    batches = [sample.batch(seed) for seed in range(BATCHES)]
    model = build(kind, "mine", own)
    in_lightning(model, sample, batches, tmp_path)
    model.save_pretrained(tmp_path / "model")
    loaded = type(model).from_pretrained(tmp_path / "model")
    assert torch.equal(loaded(batches[0][0])[0], model.eval()(batches[0][0])[0])
