"""``torchrun … -m unrolled train``: two processes say and write what one does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from command_line import Command
from unrolled.train.metrics import read

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or not torch.distributed.is_gloo_available(),
    reason="torch without gloo",
)

SRC = Path(__file__).parents[2] / "src"
QUICK = [
    *["--tokens", "char", "--hidden-size", "6", "--dropout", "0", "--max-steps", "6"],
    *["--batch-size", "5", "--evaluate-every", "3", "--log-every", "1", "--checkpoint-every", "3"],
    *["--device", "cpu", "--precision", "float32"],
]


def torchrun(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*command, "-m", "unrolled", *map(str, words)],
        env={**os.environ, "PYTHONPATH": str(SRC), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip


def test_two_processes_train_what_one_trains(unrolled: Command, tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    for name in ("even", "odd"):
        (data / f"{name}.txt").write_text("".join(f"{name[0]}{i}\n" for i in range(40)))
    one, two = tmp_path / "one", tmp_path / "two"
    assert unrolled("train", "classify", data, *QUICK, "--output", one).status == 0
    done = torchrun("train", "classify", data, *QUICK, "--output", two, "--max-minutes", "1e-9")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("2 processes") == 1
    assert done.stdout.count("stopped by the time limit") == 1
    done = torchrun("train", "classify", "--output", two, "--resume", "--max-minutes", "null")
    assert done.returncode == 0, done.stderr

    ours, theirs = (read(run / "training" / "metrics.jsonl") for run in (one, two))
    assert [r["step"] for r in ours] == [r["step"] for r in theirs]
    # A loss is a mean over 5 examples of sums over some 100 products, and six steps of AdamW move
    # each weight by less than 6 × 2e-3 whatever the gradients' roundings.
    for a, b in zip(ours, theirs, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3)
    assert ours[0]["loss"] == pytest.approx(theirs[0]["loss"], rel=500 * 2.0**-24)
    resumed = unrolled("train", "classify", "--output", two, "--resume", "--max-steps", "8")
    assert resumed.status == 0
    assert "was trained by 2 processes and goes on with one process" in resumed.err
