from pathlib import Path

import pytest

from small_files import largest_file
from unrolled.errors import TrainingError
from unrolled.train.metrics import JsonLines, read


def test_lines_are_appended_and_read_back(tmp_path: Path):
    with JsonLines(tmp_path / "m.jsonl") as lines:
        lines.write({"step": 1, "loss": 0.1})
        lines.write({"step": 2, "split": "train"})
        size = lines.sync()
    assert (tmp_path / "m.jsonl").read_bytes() == (
        b'{"step": 1, "loss": 0.1}\n{"step": 2, "split": "train"}\n'
    )
    assert size == (tmp_path / "m.jsonl").stat().st_size
    assert read(tmp_path / "m.jsonl") == [{"step": 1, "loss": 0.1}, {"step": 2, "split": "train"}]


def test_what_follows_the_known_size_is_cut(tmp_path: Path):
    with JsonLines(tmp_path / "m.jsonl") as lines:
        lines.write({"step": 1})
        size = lines.sync()
        lines.write({"step": 2})
    with (tmp_path / "m.jsonl").open("ab") as file:
        file.write(b'{"step": 3')
    with JsonLines(tmp_path / "m.jsonl", size) as lines:
        lines.write({"step": 4})
    assert read(tmp_path / "m.jsonl") == [{"step": 1}, {"step": 4}]


def test_a_file_that_lost_lines_is_refused(tmp_path: Path):
    (tmp_path / "m.jsonl").write_bytes(b"{}\n")
    with pytest.raises(TrainingError) as caught:
        JsonLines(tmp_path / "m.jsonl", 10)
    assert str(caught.value) == (
        f"{tmp_path / 'm.jsonl'} has 3 bytes, but the checkpoint was taken when it had 10: put the "
        "file back, or start again with --overwrite"
    )
    assert (tmp_path / "m.jsonl").read_bytes() == b"{}\n"


def test_a_file_that_is_gone_is_refused(tmp_path: Path):
    with pytest.raises(TrainingError, match=r"can't write .*m.jsonl: No such file"):
        JsonLines(tmp_path / "m.jsonl", 10)


def test_a_number_that_json_has_not_is_refused(tmp_path: Path):
    with JsonLines(tmp_path / "m.jsonl") as lines, pytest.raises(ValueError):
        lines.write({"loss": float("nan")})


@pytest.mark.parametrize("room", [0, 5])
def test_a_full_disk_is_said(tmp_path: Path, room: int):
    path = tmp_path / "m.jsonl"
    with largest_file(room), JsonLines(path) as lines, pytest.raises(TrainingError) as caught:
        lines.write({"step": 1})
    assert str(caught.value) == (
        f"can't write {path}: File too large; the last checkpoint is whole. Free some space or "
        "check the permissions, then resume"
    )
    assert path.stat().st_size == room
