"""The models in Lightning's loop: plain modules, nothing of ours around them."""

from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader

from classified_data import POS, SENTENCES, classifier, tagger


class Learner(lightning.LightningModule):
    """A model and how its loss comes from a batch."""

    def __init__(self, model: torch.nn.Module, loss: Any) -> None:
        super().__init__()
        self.model, self.loss = model, loss
        self.losses: list[float] = []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = self.loss(self.model, batch)
        self.losses.append(loss.item())
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=0.05)


def losses(model: torch.nn.Module, loss: Any, examples: list[Any], root: Path) -> list[float]:
    learner = Learner(model.train(), loss)
    trainer = lightning.Trainer(
        max_epochs=15, accelerator="cpu", default_root_dir=root, logger=False, barebones=True,
    )  # fmt: skip
    loader: Any = DataLoader(cast("Any", examples), batch_size=None, num_workers=0)
    trainer.fit(learner, loader)
    return learner.losses


def test_a_classifier(tmp_path: Path):
    model = classifier("gru", hidden_size=12, pooling="last")
    texts = ["ab", "abcd", "aabb", "a", "abc", "ccccc", "", "b"]
    examples = [
        (torch.from_numpy(model.encode(text)).unsqueeze(1), torch.tensor([len(text) % 2]))
        for text in texts
        if text
    ]
    found = losses(
        model, lambda m, batch: F.cross_entropy(m(batch[0]), batch[1]), examples, tmp_path
    )
    assert sum(found[-7:]) < 0.3 * sum(found[:7])


def test_a_tagger(tmp_path: Path):
    model = tagger("gru")
    examples = []
    for i, words in enumerate(SENTENCES):
        encoded = model.encode(words, {"pos": POS[i]})
        given = {k: torch.from_numpy(v).unsqueeze(1) for k, v in encoded.items()}
        examples.append((given, torch.arange(len(words)) % 5))

    def loss(model: Any, batch: tuple[Any, torch.Tensor]) -> torch.Tensor:
        given, right = batch
        return F.cross_entropy(model(**model.arguments(given))[:, 0], right)

    found = losses(model, loss, examples, tmp_path)
    assert sum(found[-3:]) < 0.3 * sum(found[:3])
