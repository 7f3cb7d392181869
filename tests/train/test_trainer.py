"""The training loop: it learns, it resumes bit for bit, it stops as it should."""

import math
import os
import signal
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from small_files import largest_file
from tiny_training import SETTINGS, TinyModel, text, trainer
from unrolled.data.windows import Stream
from unrolled.errors import TrainingError
from unrolled.tasks.language_model import held_stream, mean_loss
from unrolled.train.checkpoint import newest, save
from unrolled.train.config import TrainConfig
from unrolled.train.metrics import read
from unrolled.train.observe import Moment, Observer


class StopAt(Observer):
    """Sends this process a signal after a step."""

    def __init__(self, step: int, number: signal.Signals = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def stepped(self, moment: Moment) -> None:
        if moment.step == self.step:
            os.kill(os.getpid(), self.number)


class Killed(BaseException):
    """Ends a run at once, as SIGKILL would: nothing is saved."""


class KillAt(Observer):
    def __init__(self, step: int) -> None:
        self.step = step

    def stepped(self, moment: Moment) -> None:
        if moment.step == self.step:
            raise Killed


def parameters(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def assert_same_parameters(a: dict[str, Tensor], b: dict[str, Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


def uninterrupted(directory: Path, config: TrainConfig) -> tuple[dict[str, Tensor], bytes]:
    run, model, _ = trainer(directory, config)
    assert run.run().ending == "complete"
    return parameters(model), (directory / "metrics.jsonl").read_bytes()


def test_it_learns(tmp_path: Path):
    run, _, best = trainer(tmp_path, replace(SETTINGS, epochs=20, learning_rate=0.03))
    result = run.run()
    assert (result.ending, result.progress.step) == ("complete", run.total)
    assert best
    assert result.progress.best_step == best[-1]
    # The pattern's own entropy: 0.8 + 0.2 / 7 for the right token, 0.2 / 7 for each other one.
    right, wrong = 0.8 + 0.2 / 7, 0.2 / 7
    floor = -(right * math.log(right) + 6 * wrong * math.log(wrong))
    assert result.progress.best is not None
    assert floor - 0.1 < result.progress.best < floor + 0.35 < math.log(7)


def test_the_metrics_say_what_happened(tmp_path: Path):
    run, _, best = trainer(tmp_path)
    run.run()
    records = read(tmp_path / "metrics.jsonl")
    windows = 149 // 8 + 1
    assert run.total == 3 * windows
    training = [r for r in records if r["split"] == "train"]
    validation = [r for r in records if r["split"] == "validation"]
    assert [r["step"] for r in training] == [*range(3, run.total + 1, 3)]
    assert [r["step"] for r in validation] == [10, 20, 30, 40, 50, 57]
    assert [r["step"] for r in records] == sorted(r["step"] for r in records)
    assert training[-1]["epoch"] == 3.0
    assert training[-1]["targets"] == 3 * 149 * 4
    norms = {"gradient_norm", "clipped_gradient_norm", "clipped"}
    assert {"loss", "learning_rate", "update_ratio"} | norms < set(training[0])
    best_loss = min(float(r["loss"]) for r in validation)
    assert run.progress.best == best_loss
    assert best == [
        r["step"]
        for i, r in enumerate(validation)
        if all(r["loss"] < other["loss"] for other in validation[:i])
    ]
    timing = read(tmp_path / "timing.jsonl")
    assert [r["step"] for r in timing] == [r["step"] for r in training]
    assert all(a["seconds"] <= b["seconds"] for a, b in pairwise(timing))


def test_the_first_line_is_the_mean_loss_of_its_steps(tmp_path: Path):
    """By hand: the state carried, the mean over tokens, the norm before clipping."""
    config = replace(SETTINGS, log_every=3, max_steps=3, clip=0.05, learning_rate=0.5, warmup=0)
    run, _, _ = trainer(tmp_path, config)
    run.run()
    record = read(tmp_path / "metrics.jsonl")[0]

    model = TinyModel()
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for p in model.parameters() if p.ndim > 1]},
            {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
        ],
        betas=(0.9, 0.99),
        weight_decay=0.01,
        fused=True,
    )
    torch.manual_seed(config.seed)
    state, losses, norms = None, [], []
    before: list[Tensor] = []
    for step, (x, y) in enumerate(Stream(text(800)[:600], 4, 8).batches()):
        if step == 3:
            break
        for group in optimizer.param_groups:
            group["lr"] = 0.5 * (0.5 + 0.5 * math.cos(math.pi * step / 3))
        logits, state = model(x, state)
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), 0.05).item())
        before = [p.detach().clone() for p in model.parameters()]
        optimizer.step()
        state = tuple(s.detach() for s in state)
        losses.append(loss.item())
    assert record["loss"] == pytest.approx(sum(losses) / 3, rel=1e-6)
    assert record["gradient_norm"] == pytest.approx(sum(norms) / 3, rel=1e-5)
    # What clip_grad_norm_ leaves is 0.05 but for the 1e-6 that it adds to the norm.
    after = [min(norm, 0.05) for norm in norms]
    assert record["clipped_gradient_norm"] == pytest.approx(sum(after) / 3, rel=1e-5)
    moved = torch.cat([(p - w).flatten() for p, w in zip(model.parameters(), before, strict=True)])
    size = torch.cat([w.flatten() for w in before]).norm()
    assert record["update_ratio"] == pytest.approx((moved.norm() / size).item(), rel=1e-5)
    assert record["clipped"] == sum(norm > 0.05 for norm in norms) / 3
    assert record["learning_rate"] == pytest.approx(0.5 * 0.25)


def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path: Path):
    first = uninterrupted(tmp_path / "a", SETTINGS)
    second = uninterrupted(tmp_path / "b", SETTINGS)
    assert_same_parameters(first[0], second[0])
    assert first[1] == second[1]
    assert uninterrupted(tmp_path / "c", replace(SETTINGS, seed=1))[1] != first[1]


CONFIGS = {
    "adamw": SETTINGS,
    "sgd": replace(SETTINGS, optimizer="sgd", learning_rate=0.1),
    "sgd without momentum": replace(SETTINGS, optimizer="sgd", momentum=0.0, schedule="linear"),
    "plateau": replace(SETTINGS, schedule="plateau", evaluate_every=2, plateau_patience=1),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_killed_and_resumed_is_as_never_killed(tmp_path: Path, name: str):
    """At every step of the first epoch and a half: before, at and after each checkpoint."""
    config = replace(CONFIGS[name], max_steps=30)
    expected, metrics = uninterrupted(tmp_path / "whole", config)
    for step in range(1, 30, 1 if name == "adamw" else 5):
        directory = tmp_path / f"killed-{step}"
        run, _, _ = trainer(directory, config)
        with pytest.raises(Killed):
            run.run([KillAt(step)])
        resumed, model, _ = trainer(directory, config, model=TinyModel(seed=99))
        if step <= config.checkpoint_every:
            # Nothing was saved yet: a new process would build the same model again.
            resumed, model, _ = trainer(directory, config)
        assert resumed.progress.step == max(0, step - 1) // 7 * 7
        assert resumed.run().ending == "complete"
        assert_same_parameters(parameters(model), expected)
        assert (directory / "metrics.jsonl").read_bytes() == metrics


def test_interrupted_at_any_step_and_resumed_is_as_never_interrupted(tmp_path: Path):
    config = replace(SETTINGS, max_steps=25)
    expected, metrics = uninterrupted(tmp_path / "whole", config)
    directory = tmp_path / "interrupted"
    for step in range(1, 25):
        run, _, _ = trainer(directory, config, model=TinyModel(seed=step + 3 - 1))
        result = run.run([StopAt(step)])
        assert (result.ending, result.cause) == ("interrupted", "Ctrl-C")
        assert result.progress.step == step
    run, model, _ = trainer(directory, config, model=TinyModel(seed=99))
    assert run.run().ending == "complete"
    assert_same_parameters(parameters(model), expected)
    assert (directory / "metrics.jsonl").read_bytes() == metrics


def test_a_damaged_checkpoint_costs_some_steps_and_no_bit(tmp_path: Path):
    expected, metrics = uninterrupted(tmp_path / "whole", SETTINGS)
    run, _, _ = trainer(tmp_path / "cut")
    with pytest.raises(Killed):
        run.run([KillAt(30)])
    newest = tmp_path / "cut" / "step-00000028.safetensors"
    newest.write_bytes(newest.read_bytes()[:-20])
    resumed, model, _ = trainer(tmp_path / "cut", model=TinyModel(seed=99))
    assert resumed.progress.step == 21
    assert len(resumed.notes) == 1
    assert "step-00000028.json is damaged: it has" in resumed.notes[0]
    resumed.run()
    assert_same_parameters(parameters(model), expected)
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == metrics


def test_sigterm_saves_as_ctrl_c_does(tmp_path: Path):
    run, _, _ = trainer(tmp_path)
    result = run.run([StopAt(4, signal.SIGTERM)])
    assert (result.ending, result.cause) == ("interrupted", "SIGTERM")
    assert (tmp_path / "step-00000004.json").exists()


class Enough(Observer):
    def stepped(self, moment: Moment) -> None:
        if moment.step == 5:
            self.stop = "enough"


def test_an_observer_stops_a_run_by_saying_why_and_resuming_goes_on(tmp_path: Path):
    expected, _ = uninterrupted(tmp_path / "whole", replace(SETTINGS, max_steps=9))
    run, _, _ = trainer(tmp_path / "run", replace(SETTINGS, max_steps=9))
    result = run.run([Observer(), Enough()])
    assert (result.ending, result.cause) == ("interrupted", "enough")
    assert result.progress.step == 5
    resumed, model, _ = trainer(
        tmp_path / "run", replace(SETTINGS, max_steps=9), model=TinyModel(seed=99)
    )
    assert resumed.run().ending == "complete"
    assert_same_parameters(parameters(model), expected)


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path):
    run, _, _ = trainer(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run.run([StopAt(4), StopAt(4)])
    assert not list(tmp_path.glob("step-*"))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_signals_are_as_before_afterwards(tmp_path: Path):
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    run, _, _ = trainer(tmp_path, replace(SETTINGS, max_steps=2))
    run.run()
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_out_of_time_saves_and_the_next_sitting_goes_on(tmp_path: Path):
    expected, metrics = uninterrupted(tmp_path / "whole", SETTINGS)
    config = replace(SETTINGS, max_minutes=1e-9)
    for sitting in range(3):
        run, _, _ = trainer(tmp_path / "short", config, model=TinyModel(seed=sitting + 3))
        assert run.run().ending == "out of time"
        # Too short a time for anything is still one step.
        assert run.progress.step == sitting + 1
    run, model, _ = trainer(tmp_path / "short", SETTINGS, model=TinyModel(seed=99))
    assert run.run().ending == "complete"
    assert_same_parameters(parameters(model), expected)
    assert (tmp_path / "short" / "metrics.jsonl").read_bytes() == metrics


def test_a_run_that_is_complete_stays_as_it_is(tmp_path: Path):
    expected, metrics = uninterrupted(tmp_path, SETTINGS)
    run, model, best = trainer(tmp_path, model=TinyModel(seed=99))
    assert run.run().ending == "complete"
    assert best == []
    assert_same_parameters(parameters(model), expected)
    assert (tmp_path / "metrics.jsonl").read_bytes() == metrics


def test_early_stopping_waits_for_its_patience_and_stays_stopped(tmp_path: Path):
    # A rate that makes things worse.
    config = replace(
        SETTINGS, learning_rate=3.0, schedule="constant", warmup=0, clip=0.0, patience=3
    )
    config = replace(config, evaluate_every=1)
    run, _, best = trainer(tmp_path, config)
    result = run.run()
    assert result.ending == "early"
    assert result.progress.stale == 3
    assert result.progress.step == best[-1] + 3
    again, _, _ = trainer(tmp_path, config)
    assert again.run().progress.step == result.progress.step


def test_plateau_reduces_after_its_patience(tmp_path: Path):
    config = replace(
        SETTINGS, learning_rate=3.0, schedule="plateau", warmup=0, evaluate_every=1, max_steps=20
    )
    run, _, _ = trainer(tmp_path, replace(config, plateau_patience=2, log_every=1))
    run.run()
    records = read(tmp_path / "metrics.jsonl")
    losses = [float(r["loss"]) for r in records if r["split"] == "validation"]
    rates = [r["learning_rate"] for r in records if r["split"] == "train"]
    expected, rate, best, stale = [], 3.0, math.inf, 0
    for loss in losses:
        expected.append(rate)
        stale = 0 if loss < best else stale + 1
        best = min(best, loss)
        if stale == 2:
            rate, stale = rate / 2, 0
    assert rates == expected
    assert rates[-1] < 3.0


def test_without_validation_the_latest_is_the_best(tmp_path: Path):
    run, _, best = trainer(tmp_path, replace(SETTINGS, max_steps=16), validate=False)
    run.run()
    assert best == [7, 14, 16]
    assert {r["split"] for r in read(tmp_path / "metrics.jsonl")} == {"train"}


class Broken(TinyModel):
    """Gives NaN or infinity from one step on."""

    def __init__(self, step: int, value: float, where: str) -> None:
        super().__init__()
        self.left, self.value, self.where = step, value, where

    def forward(
        self, tokens: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        logits, state = super().forward(tokens, state)
        if self.training:
            self.left -= 1
        if self.left > 0 or self.training == (self.where == "validation loss"):
            return logits, state
        if self.where == "gradient norm":
            logits.register_hook(lambda gradient: gradient * self.value)
            return logits, state
        return logits + torch.where(torch.arange(7) == 0, self.value, 0.0), state


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "gradient norm", "validation loss"])
@pytest.mark.parametrize("step", [5, 10])
def test_what_is_not_finite_stops_the_run_and_keeps_what_was_good(
    tmp_path: Path, value: float, where: str, step: int
):
    run, model, _ = trainer(tmp_path, model=Broken(step, value, where))
    with pytest.raises(TrainingError) as caught:
        run.run()
    message = str(caught.value)
    stopped = 10 if where == "validation loss" else step
    assert message.startswith(f"the {where} is ")
    assert f" at step {stopped}" in message
    kept = stopped > 7
    assert ("The checkpoint of step 7 is kept" in message) == kept
    assert ("There was no checkpoint yet" in message) != kept
    assert message.endswith("; try a lower --learning-rate, a longer --warmup or a smaller --clip")
    assert sorted(p.name for p in tmp_path.glob("*.json")) == ["step-00000007.json"] * kept
    assert all(p.isfinite().all() for p in model.parameters())


def test_an_update_that_overflows_is_not_saved(tmp_path: Path):
    config = replace(SETTINGS, optimizer="sgd", learning_rate=3e38, clip=0.0, warmup=0)
    config = replace(config, checkpoint_every=1, schedule="constant")
    run, _, _ = trainer(tmp_path, config)
    with pytest.raises(
        TrainingError, match=r"^the (parameter \S+|loss|gradient norm) is (nan|inf)"
    ):
        run.run()
    _, model, _ = trainer(tmp_path, config, model=TinyModel(seed=99))
    assert all(p.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("settings", [{"optimizer": "sgd"}, {"batch_size": 3}, {"seed": 9}])
def test_another_optimizer_or_place_in_the_text_is_refused(
    tmp_path: Path, settings: dict[str, str | int]
):
    run, _, _ = trainer(tmp_path, replace(SETTINGS, max_steps=3))
    run.run()
    name, value = next(iter(settings.items()))
    with pytest.raises(TrainingError) as caught:
        trainer(tmp_path, replace(SETTINGS, **settings))
    assert str(caught.value) == (
        f"the run was started with {name} {getattr(SETTINGS, name)!r}, not {value!r}: leave it as "
        "it was, or start again with --overwrite"
    )


def test_more_epochs_and_another_rate_may_follow(tmp_path: Path):
    run, _, _ = trainer(tmp_path, replace(SETTINGS, epochs=1))
    run.run()
    run, _, _ = trainer(tmp_path, replace(SETTINGS, epochs=2, learning_rate=1e-3, clip=0.1))
    assert run.run().progress.step == 38
    assert read(tmp_path / "metrics.jsonl")[-2]["learning_rate"] < 1e-3


def test_a_full_disk_stops_the_run_and_keeps_what_was_saved(tmp_path: Path):
    expected, metrics = uninterrupted(tmp_path / "whole", SETTINGS)
    run, _, _ = trainer(tmp_path / "full")
    with pytest.raises(Killed):
        run.run([KillAt(15)])
    resumed, _, _ = trainer(tmp_path / "full")
    with largest_file(4000), pytest.raises(TrainingError, match="no checkpoint of step 21: can't"):
        resumed.run()
    assert {p.name for p in (tmp_path / "full").glob("step*.json")} == {
        "step-00000007.json",
        "step-00000014.json",
    }
    again, model, _ = trainer(tmp_path / "full", model=TinyModel(seed=99))
    assert again.progress.step == 14
    again.run()
    assert_same_parameters(parameters(model), expected)
    assert (tmp_path / "full" / "metrics.jsonl").read_bytes() == metrics


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path):
    run, _, _ = trainer(tmp_path, replace(SETTINGS, max_steps=3))
    run.run()
    other = TinyModel()
    other.output = nn.Linear(12, 9)
    with pytest.raises(TrainingError) as caught:
        trainer(tmp_path, model=other)
    assert str(caught.value) == (
        "the checkpoint is of another model: output.bias has shape (7,) there and (9,) here. "
        "Resume with the settings the run was started with, or start again with --overwrite"
    )


def test_the_validation_loss_is_that_of_each_token_given_those_before_it():
    model = TinyModel().eval()
    tokens = torch.from_numpy(text(100).astype("int64"))
    with torch.no_grad():
        logits, _ = model(tokens[:-1].unsqueeze(1))
    expected = nn.functional.cross_entropy(logits[:, 0], tokens[1:]).item()
    model.train()
    found = mean_loss(model, Stream(text(100), 1, 7))
    assert found == pytest.approx(expected, rel=1e-6)
    assert model.training


def test_a_short_validation_part_is_read_in_fewer_streams():
    plenty = held_stream(text(100), 4, 8)
    assert (plenty.batch_size, plenty.window) == (4, 8)
    short = held_stream(text(20), 4, 8)
    assert (short.batch_size, short.window) == (2, 8)
    shorter = held_stream(text(5), 4, 8)
    assert (shorter.batch_size, shorter.window) == (1, 4)
    with pytest.raises(TrainingError, match="the validation part has 1 token, "):
        held_stream(text(1), 4, 8)


def test_a_checkpoint_of_before_the_norm_after_clipping_still_resumes(tmp_path: Path):
    run, _, _ = trainer(tmp_path, replace(SETTINGS, max_steps=7))
    run.run()
    (path,) = tmp_path.glob("step-*.json")
    found = newest(tmp_path).checkpoint
    assert found is not None
    del found.values["progress"]["clipped_norm_sum"]
    save(tmp_path, found)
    assert path.exists()
    resumed, _, _ = trainer(tmp_path, SETTINGS, model=TinyModel(seed=99))
    assert resumed.progress.step == 7
    assert resumed.run().ending == "complete"
