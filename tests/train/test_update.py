"""One update: parts and processes don't change it, float16 skips what overflows."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tiny_training import ROUNDING, SETTINGS, plain_model, trainer
from unrolled.data.batch import Batch, Sequences
from unrolled.train.config import PrecisionName, TrainConfig
from unrolled.train.metrics import read
from unrolled.train.processes import ALONE, Processes, started_as
from unrolled.train.task import State, Task
from unrolled.train.update import Updater


def trained(directory: Path, config: TrainConfig) -> tuple[dict[str, Tensor], list[float]]:
    run, model, _ = trainer(directory, config, model=plain_model())
    run.run()
    losses = [r["loss"] for r in read(directory / "metrics.jsonl")]
    return dict(model.named_parameters()), losses


@pytest.mark.parametrize("parts", [2, 3, 4, 9])
def test_a_batch_in_parts_gives_the_same_updates(tmp_path: Path, parts: int):
    """The state that is carried on is in parts too; 9 parts of 4 rows are 4."""
    config = replace(SETTINGS, max_steps=18)
    whole, losses = trained(tmp_path / "whole", config)
    parted, parted_losses = trained(tmp_path / "parts", replace(config, accumulate=parts))
    for name, values in whole.items():
        assert (values - parted[name]).abs().max() <= ROUNDING, name
    assert losses == pytest.approx(parted_losses, rel=ROUNDING)


class Line(nn.Module):
    """y = w x, whose loss a test may make as large as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(3, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


def line_task(scale: float) -> Task:
    def loss(model: Line, batch: Batch, state: State | None) -> tuple[Tensor, None]:
        return model(batch.values["x"]).float().square().sum() * scale, None

    class Batches:
        def __len__(self) -> int:
            return 1

        def batches(self, epoch: int, start: int = 0):
            yield BATCH

    return Task(Batches(), loss, lambda batch: batch.size)


BATCH = Batch(4, {}, {"x": torch.arange(12.0).reshape(4, 3) / 8})


def test_float16_leaves_out_steps_that_overflow():
    model = Line()
    config = TrainConfig(precision="float16", weight_decay=0.0)
    updater = Updater(model, line_task(1e3), config, ALONE)
    first = updater.scaler.get_scale()
    found = updater.gradients(BATCH, None)
    assert not math.isfinite(found.norm)
    assert updater.step(0.1, measure=True) == 0
    assert torch.equal(model.w, torch.ones(3, 3))
    assert updater.scaler.get_scale() == first / 2
    for _ in range(20):
        found = updater.gradients(BATCH, None)
        updater.step(0.1)
    assert math.isfinite(found.norm)
    assert not torch.equal(model.w, torch.ones(3, 3))
    assert model.w.dtype == torch.float32


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_precision_is_what_the_model_computes_in(precision: PrecisionName):
    seen: list[torch.dtype] = []
    model = Line()
    model.register_forward_hook(lambda _m, _x, y: seen.append(y.dtype))
    Updater(model, line_task(1.0), TrainConfig(precision=precision), ALONE).gradients(BATCH, None)
    assert seen == [getattr(torch, precision)]


@pytest.mark.parametrize("n", range(8))
@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_shares_don_t_overlap_and_leave_nothing_out(n: int, size: int):
    shares = [range(*Processes(rank, size).share(n).indices(n)) for rank in range(size)]
    assert [row for share in shares for row in share] == list(range(n))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_parts_of_a_batch_are_padded_no_longer_than_they_need():
    data, lengths = torch.arange(12).reshape(3, 4), torch.tensor([1, 2, 3, 2])
    batch = Batch(4, {"x": Sequences(data, lengths)}, {"y": torch.arange(4)})
    part = batch.select(slice(0, 2))
    assert part.size == 2
    assert torch.equal(part.sequences["x"].data, data[:2, :2])
    assert part.sequences["x"].steps() == 3
    assert part.sequences["x"].present().tolist() == [[True, True], [False, True]]
    assert part.values["y"].tolist() == [0, 1]


def test_what_torchrun_says(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert started_as() == ALONE
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert started_as() == Processes(1, 3)
