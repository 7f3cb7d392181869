"""``unrolled plot``: pictures of a run, or plain text."""

import json
import math
from pathlib import Path

import pytest
from matplotlib.image import imread

from command_line import Command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    directory = tmp_path / "run"
    (directory / "training").mkdir(parents=True)
    records = [
        {"step": step, "split": split, "loss": 1.0 / step}
        for step in (10, 20, 40)
        for split in ("train", "validation")
    ]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    (directory / "training" / "metrics.jsonl").write_text(lines)
    return directory


@pytest.fixture
def report(tmp_path: Path) -> Path:
    path = tmp_path / "report.json"
    confusion = {"labels": ["a", "b"], "counts": [[3, 1], [0, 2]]}
    path.write_text(json.dumps({"details": {"confusion": confusion}}))
    return path


def test_pictures_go_beside_the_run(unrolled: Command, run: Path):
    done = unrolled("plot", run)
    assert done.out == f"{run}/plots/learning.png\n"
    assert (run / "plots" / "learning.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_is_drawn_too(unrolled: Command, run: Path, report: Path, tmp_path: Path):
    where = tmp_path / "pictures"
    done = unrolled("plot", run, "--report", report, "-o", where, "--image", "svg")
    names = [f"{name}.svg" for name in ("learning", "confusion", "recall")]
    assert done.out.splitlines() == [f"{where}/{name}" for name in names]


def test_plain_text(unrolled: Command, run: Path, report: Path):
    done = unrolled("plot", run, "--text", "--report", report)
    assert (done.status, done.err) == (0, "")
    assert (
        done.out
        == """\
train loss: first 0.1, last 0.025; steps 10 to 40
  █▃▁
validation loss: first 0.1, best 0.025 at step 40, last 0.025; steps 10 to 40
  █▃▁

class  precision  recall     F1  examples
a          1.000   0.750  0.857         4
b          0.667   1.000  0.800         2

class  taken for  times  of the class
a      b              1        25.0 %
"""
    )
    assert not (run / "plots").exists()


def test_what_is_refused(unrolled: Command, run: Path, tmp_path: Path):
    for words, line in {
        (tmp_path,): f"{tmp_path} holds no run: there is no {tmp_path}/training/metrics.jsonl",
        (run, "--report", run / "no"): f"can't read {run}/no: No such file or directory",
        (run, "--report", run / "training" / "metrics.jsonl"): (
            f"{run}/training/metrics.jsonl is no report: unrolled eval --json writes one"
        ),
    }.items():
        done = unrolled("plot", *words)
        assert (done.status, done.err) == (2, f"unrolled: error: {line}\n")


def test_a_run_that_forecasts_is_drawn_with_its_forecasts(unrolled: Command, tmp_path: Path):
    rows = "".join(f"{1900 + i},{math.sin(i / 2):.5f}\n" for i in range(120))
    (tmp_path / "a.csv").write_text("time,value\n" + rows)
    run = tmp_path / "run"
    done = unrolled(
        "train", "forecast", tmp_path / "a.csv", "--output", run, "--season", 6, "--horizon", 4,
        "--hidden-size", 6, "--max-steps", 12, "--batch-size", 16, "--warmup", 2, "--log-every", 2,
        "--evaluate-every", 4, "--checkpoint-every", 4, "--device", "cpu",
    )  # fmt: skip
    assert (done.status, done.err) == (0, "")
    done = unrolled("plot", run)
    names = [f"{run}/plots/{name}.png" for name in ("learning", "forecast")]
    assert (done.status, done.out.splitlines()) == (0, names)
    assert imread(names[1]).shape[1] == 800
