"""Checkpoints: exact, atomic, and every damage seen."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from unrolled.errors import TrainingError
from unrolled.train.checkpoint import Checkpoint, newest, save


def checkpoint(step: int) -> Checkpoint:
    generator = torch.Generator().manual_seed(step)
    tensors = {
        "weight": torch.randn(3, 4, generator=generator),
        "generator": torch.get_rng_state(),
        "ids": torch.arange(step),
        "half": torch.randn(2, generator=generator).bfloat16(),
    }
    return Checkpoint(step, tensors, {"step": step, "loss": 0.1 + step / 3, "best": None})


def assert_same(found: Checkpoint | None, expected: Checkpoint) -> None:
    assert found is not None
    assert (found.step, found.values) == (expected.step, expected.values)
    assert found.tensors.keys() == expected.tensors.keys()
    for name, tensor in expected.tensors.items():
        assert found.tensors[name].dtype == tensor.dtype
        assert torch.equal(found.tensors[name], tensor)


def files(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def pair(step: int) -> list[str]:
    return [f"step-{step:08d}.json", f"step-{step:08d}.safetensors"]


def test_a_directory_without_checkpoints_has_none(tmp_path: Path):
    (tmp_path / "step-by-step.txt").write_text("not ours")
    found = newest(tmp_path)
    assert found.checkpoint is None
    assert found.damaged == ()


def test_what_was_saved_comes_back_bit_for_bit(tmp_path: Path):
    save(tmp_path, checkpoint(5))
    assert_same(newest(tmp_path).checkpoint, checkpoint(5))


def test_the_one_before_is_kept_and_no_other(tmp_path: Path):
    for step in (5, 10, 15):
        save(tmp_path, checkpoint(step))
    assert files(tmp_path) == pair(10) + pair(15)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def number(path: Path) -> None:
    path.write_text("3")


DAMAGES: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "tensors cut": (cut, "safetensors", r"it has \d+ bytes of \d+"),
    "tensors changed": (flip_a_bit, "safetensors", "its tensors were changed"),
    "tensors gone": (Path.unlink, "safetensors", "No such file"),
    "tensors empty": (empty, "safetensors", "it has 0 bytes"),
    "description cut": (halve, "json", "delimiter|Expecting|Unterminated"),
    "description changed": (flip_a_bit, "json", "changed|Expecting|delimiter"),
    "description gone": (Path.unlink, "json", "No such file"),
    "description no object": (number, "json", "has version None"),
    "description zeroed": (zeros, "json", "Expecting value"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str):
    inflict, suffix, _ = DAMAGES[damage]
    save(tmp_path, checkpoint(5))
    save(tmp_path, checkpoint(10))
    inflict(tmp_path / f"step-00000010.{suffix}")
    found = newest(tmp_path)
    assert_same(found.checkpoint, checkpoint(5))
    assert len(found.damaged) == 1
    path = tmp_path / "step-00000010.json"
    assert found.damaged[0].startswith(f"the checkpoint {path} is damaged: ")


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_all_are_damaged_nothing_is_trusted(tmp_path: Path, damage: str):
    inflict, suffix, reason = DAMAGES[damage]
    save(tmp_path, checkpoint(5))
    inflict(tmp_path / f"step-00000005.{suffix}")
    if damage == "description gone":
        # The same as a first save that was cut off: there never was a checkpoint.
        found = newest(tmp_path)
        assert found.checkpoint is None
        assert len(found.damaged) == 1
        return
    with pytest.raises(TrainingError, match=reason) as caught:
        newest(tmp_path)
    assert str(caught.value).endswith("None is left to resume from: start again with --overwrite")


def test_each_single_changed_byte_of_a_description_is_seen(tmp_path: Path):
    save(tmp_path, checkpoint(5))
    path = tmp_path / "step-00000005.json"
    content = path.read_bytes()
    values = json.loads(content)
    for index in range(len(content)):
        changed = content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :]
        path.write_bytes(changed)
        try:
            found = newest(tmp_path).checkpoint
        except TrainingError:
            continue
        # A changed byte between two values, or another spelling of one, changes nothing.
        assert json.loads(changed) == values
        assert_same(found, checkpoint(5))


def test_another_version_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("unrolled.train.checkpoint._VERSION", 3)
    save(tmp_path, checkpoint(5))
    monkeypatch.undo()
    with pytest.raises(TrainingError, match="it has version 3, this program reads 2"):
        newest(tmp_path)


def test_saving_after_going_back_removes_the_later_ones(tmp_path: Path):
    save(tmp_path, checkpoint(5))
    save(tmp_path, checkpoint(10))
    cut(tmp_path / "step-00000010.safetensors")
    (tmp_path / ".step-00000015.safetensors.tmp").write_bytes(b"what a killed process left")
    save(tmp_path, checkpoint(7))
    assert files(tmp_path) == pair(5) + pair(7)


@pytest.mark.parametrize("fails_at", range(1, 5))
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_leaves_the_old_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails_at: int, code: int
):
    save(tmp_path, checkpoint(5))
    save(tmp_path, checkpoint(10))
    calls = 0
    fsync = os.fsync

    def failing(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == fails_at:
            raise OSError(code, os.strerror(code))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(TrainingError) as caught:
        save(tmp_path, checkpoint(15))
    monkeypatch.undo()
    assert str(caught.value).startswith("no checkpoint of step 15: can't write ")
    assert os.strerror(code) in str(caught.value)
    assert set(pair(5) + pair(10)) <= set(files(tmp_path))
    assert not list(tmp_path.glob(".step*"))
    if newest(tmp_path).damaged:
        assert_same(newest(tmp_path).checkpoint, checkpoint(10))
