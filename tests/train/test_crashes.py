"""A process that dies at any file operation of a run leaves what the run can go on from."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tiny_training import SETTINGS, TinyModel, trainer

CONFIG = replace(SETTINGS, max_steps=6, checkpoint_every=2, log_every=1, evaluate_every=3)


class Died(BaseException):
    """What ends a process with no chance to clean up."""


class Death:
    """Lets a number of file operations through; the next one, and all after it, do nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, operations: int) -> None:
        self.left = operations
        for owner, name in (
            (os, "fsync"),
            (Path, "open"),
            (Path, "replace"),
            (Path, "unlink"),
        ):
            monkeypatch.setattr(owner, name, self._guarded(getattr(owner, name)))

    def _guarded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            if self.left == 0:
                raise Died
            self.left -= 1
            return function(*args, **kwargs)

        return guarded


def outcome(directory: Path, model: nn.Module) -> tuple[bytes, dict[str, Tensor]]:
    metrics = (directory / "metrics.jsonl").read_bytes()
    return metrics, {name: p.detach() for name, p in model.named_parameters()}


def test_each_file_operation_may_be_the_last(tmp_path: Path):
    run, model, _ = trainer(tmp_path / "whole", CONFIG)
    run.run()
    metrics, parameters = outcome(tmp_path / "whole", model)

    operations = 0
    while True:
        directory = tmp_path / f"died-{operations}"
        with pytest.MonkeyPatch.context() as monkeypatch:
            death = Death(monkeypatch, operations)
            try:
                run, model, _ = trainer(directory, CONFIG)
                run.run()
                assert death.left == 0
                break
            except Died:
                pass
        resumed, model, _ = trainer(directory, CONFIG, model=TinyModel(seed=3))
        assert resumed.run().ending == "complete"
        again, tensors = outcome(directory, model)
        assert again == metrics, operations
        assert all(torch.equal(tensors[name], parameters[name]) for name in parameters)
        assert not list(directory.glob(".step-*")), operations
        operations += 1
    # Three checkpoints of two files each: open, flush, replace, flush the directory …
    assert operations > 3 * 2 * 4
