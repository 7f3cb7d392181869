"""Learning curves: read from a run's metrics, as text and as a picture."""

import json
import math
from pathlib import Path

import pytest

from unrolled.errors import DataError
from unrolled.tasks.curves import Curve, curves_of, read_curves
from unrolled.tasks.text_plots import learning_curves, sparkline

RECORDS = [
    {"step": 10, "epoch": 0.5, "targets": 5, "split": "train", "loss": 3.0, "learning_rate": 0.1},
    {"step": 10, "epoch": 0.5, "targets": 5, "split": "validation", "accuracy": 0.5, "loss": 2.5},
    {"step": 20, "epoch": 1.0, "targets": 9, "split": "train", "loss": 2.0, "learning_rate": 0.1},
    {"step": 20, "epoch": 1.0, "targets": 9, "split": "validation", "accuracy": 0.75, "loss": 2.75},
]  # fmt: skip


def test_a_curve_for_each_figure_and_split():
    assert curves_of(RECORDS) == [
        Curve("loss", "train", (10, 20), (3.0, 2.0)),
        Curve("loss", "validation", (10, 20), (2.5, 2.75)),
        Curve("accuracy", "validation", (10, 20), (0.5, 0.75)),
        Curve("learning_rate", "train", (10, 20), (0.1, 0.1)),
    ]


def test_the_best_is_the_lowest_loss_and_the_highest_accuracy():
    train, loss, accuracy, _ = curves_of(RECORDS)
    assert (train.best(), loss.best(), accuracy.best()) == (None, 0, 1)
    assert Curve("loss", "validation", (1, 2), (math.nan, 3.0)).best() == 1
    assert Curve("loss", "validation", (1,), (math.nan,)).best() is None


def test_curves_as_text():
    assert learning_curves(curves_of(RECORDS)[:2], 40) == (
        "train loss: first 3, last 2; steps 10 to 20\n"
        "  █▁\n"
        "validation loss: first 2.5, best 2.5 at step 10, last 2.75; steps 10 to 20\n"
        "  ▁█"
    )


@pytest.mark.parametrize(
    ("values", "width", "line"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], 8, "▁▂▃▄▅▆▇█"),
        ([0, 0, 2, 2, 4, 4, 7, 7], 4, "▁▃▅█"),
        ([5.0], 8, "▁"),
        ([1.0, math.nan, 0.0], 8, "█ ▁"),
        ([math.inf], 8, " "),
        ([1.0, 1.0], 1, "▁"),
    ],
)
def test_a_sparkline(values: list[float], width: int, line: str):
    assert sparkline(values, width) == line


def written(root: Path, text: str) -> Path:
    (root / "training").mkdir()
    (root / "training" / "metrics.jsonl").write_text(text)
    return root


def test_they_are_read_from_a_run(tmp_path: Path):
    lines = "".join(json.dumps(record) + "\n" for record in RECORDS)
    assert read_curves(written(tmp_path, lines)) == curves_of(RECORDS)


def test_a_directory_without_a_run(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        read_curves(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no run: there is no {tmp_path}/training/metrics.jsonl"
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no figures yet: the run has not come to its first line"),
        ("{", "is damaged: Expecting property name enclosed in double quotes: line 1 column 2 "
         "(char 1)"),
        ('{"loss": 1.0}', "is damaged: 'split'"),
        ("[]", "is damaged: 'list' object has no attribute 'items'"),
    ],
)  # fmt: skip
def test_metrics_that_are_none(tmp_path: Path, text: str, problem: str):
    with pytest.raises(DataError) as caught:
        read_curves(written(tmp_path, text))
    assert str(caught.value) == f"{tmp_path}/training/metrics.jsonl {problem}"
