"""Each kind of task by its commands, from data to predictions and on again."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from command_line import Command
from unrolled.models import load
from unrolled.tasks.table import KINDS
from unrolled.train.metrics import read

QUICK = [
    *["--hidden-size", "6", "--max-steps", "12", "--batch-size", "4", "--warmup", "2"],
    *["--evaluate-every", "4", "--log-every", "2", "--checkpoint-every", "4", "--device", "cpu"],
]


@dataclass(frozen=True)
class Trial:
    """What a kind is tried on.

    Attributes:
        write: Writes data into a directory, and gives the words that name it.
        lines: What is predicted: as many lines.
        answers: What an answer has.
        bad: A line that can't be read.
    """

    write: Callable[[Path], list[str]]
    lines: list[str]
    answers: set[str]
    bad: str | None = None


def _text(root: Path) -> list[str]:
    (root / "a.txt").write_text("the quick brown fox jumps over the lazy dog.\n" * 60)
    return [str(root / "a.txt"), "--window", "8", "--samples", "0"]


def _classes(root: Path) -> list[str]:
    for name in ("even", "odd"):
        (root / name).with_suffix(".txt").write_text("".join(f"{name[0]}{i}\n" for i in range(40)))
    return [str(root), "--tokens", "char"]


def _tags(root: Path) -> list[str]:
    sentence = "the D B-NP\ndog N I-NP\nbarks V B-VP\n\n"
    (root / "a.conll").write_text(sentence * 40)
    return [str(root / "a.conll"), "--tags", "c2", "--columns", "c1"]


def _pairs(root: Path) -> list[str]:
    words = [f"{a}{b}" for a in "abcdef" for b in "ghijkl"]
    lines = "".join(f"{w}\t{w[::-1]}\n" for w in words)
    (root / "a.tsv").write_text("source\ttarget\n" + lines)
    return [str(root / "a.tsv"), "--source-tokens", "char", "--target-tokens", "char",
            "--max-length", "9"]  # fmt: skip


def _labels(root: Path) -> list[str]:
    for name in ("up", "down"):
        (root / name).with_suffix(".txt").write_text("abcd\ndcba\n" * 20)
    return [str(root)]


def _series(root: Path) -> list[str]:
    rows = "".join(f"{2000 + i // 12}-{i % 12 + 1:02d},{math.sin(i / 2):.5f}\n" for i in range(120))
    (root / "a.csv").write_text("time,value\n" + rows)
    return [str(root / "a.csv"), "--horizon", "3", "--context", "12", "--no-calendar"]


TAGGED = json.dumps({"words": ["the", "dog"], "c1": ["D", "N"]})
PAST = " ".join(f"{math.sin(i / 2):.4f}" for i in range(36))

TRIALS = {
    "lm": Trial(_text, ["the fox", "dog"], {"text", "log_probability", "tokens"}),
    "classify": Trial(_classes, ["e7", "o9"], {"label", "classes"}, ""),
    "tag": Trial(_tags, [TAGGED, TAGGED], {"tags"}, ""),
    "translate": Trial(_pairs, ["ag", "bh"], {"source", "translations"}, ""),
    "generate": Trial(_labels, ["up", "down"], {"label", "text"}, "sideways"),
    "forecast": Trial(_series, [PAST, PAST], {"forecast", "quantiles"}, "1 two 3"),
}


def test_every_kind_is_tried():
    assert TRIALS.keys() == KINDS.keys()


@pytest.mark.parametrize("name", TRIALS)
def test_from_data_to_predictions(name: str, unrolled: Command, tmp_path: Path):
    trial, run = TRIALS[name], tmp_path / "run"
    (tmp_path / "data").mkdir()
    words = trial.write(tmp_path / "data")
    done = unrolled("train", name, *words, "--output", run, *QUICK)
    assert (done.status, done.err) == (0, "")
    report = json.loads((run / "training" / "report.json").read_text())
    assert report["figures"]
    for figure in report["figures"]:
        assert figure["name"] in done.out
    steps = [r["step"] for r in read(run / "training" / "metrics.jsonl") if r["split"] == "train"]
    assert steps == [2, 4, 6, 8, 10, 12]

    model = load(run)
    shown = unrolled("info", run)
    assert (shown.status, shown.err) == (0, "")
    assert f"{sum(p.numel() for p in model.parameters()):,}" in shown.out
    assert "validation" in shown.out

    # How the data is read is as the run had it.
    judged = unrolled("eval", run, words[0], "--json", tmp_path / "e.json")
    assert (judged.status, judged.err) == (0, "")
    assert json.loads((tmp_path / "e.json").read_text())["figures"]

    lines = tmp_path / "lines.txt"
    lines.write_text("".join(f"{line}\n" for line in trial.lines))
    predicted = unrolled("predict", run, lines)
    assert (predicted.status, predicted.err) == (0, "")
    answers = [json.loads(line) for line in predicted.out.splitlines()]
    assert [trial.answers <= set(answer) for answer in answers] == [True] * len(trial.lines)


@pytest.mark.parametrize("name", [n for n, t in TRIALS.items() if t.bad is not None])
def test_a_line_that_can_not_be_read_is_answered_in_its_place(
    name: str, unrolled: Command, tmp_path: Path
):
    trial, run = TRIALS[name], tmp_path / "run"
    (tmp_path / "data").mkdir()
    assert (
        unrolled("train", name, *trial.write(tmp_path / "data"), "--output", run, *QUICK).status
        == 0
    )
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{trial.lines[0]}\n{trial.bad}\n{trial.lines[1]}\n")
    first, bad, last = map(json.loads, unrolled("predict", run, lines).out.splitlines())
    assert trial.answers <= set(first)
    assert trial.answers <= set(last)
    assert "error" in bad
    assert not trial.answers <= set(bad)


@pytest.mark.parametrize("name", TRIALS)
def test_a_stopped_run_goes_on_to_the_same_end(name: str, unrolled: Command, tmp_path: Path):
    trial = TRIALS[name]
    (tmp_path / "data").mkdir()
    words = trial.write(tmp_path / "data")
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert unrolled("train", name, *words, "--output", whole, *QUICK).status == 0
    assert (
        unrolled("train", name, *words, "--output", parts, *QUICK, "--max-minutes", "1e-9").status
        == 0
    )
    # What is spelled out again is what it was.
    options = words[1:] if name != "lm" else []
    rest = ["--resume", "--max-minutes", "null"]
    done = unrolled("train", name, *options, "--output", parts, *rest)
    assert done.status == 0, done.err
    for file in ("model.safetensors", "training/metrics.jsonl", "training/report.json"):
        assert (whole / file).read_bytes() == (parts / file).read_bytes(), file


def _rename(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


# Other names for the same numbers, and what is then said to differ.
RENAMED: dict[str, tuple[Callable[[Path], object], str]] = {
    "lm": (lambda root: _rename(root / "a.txt", "fox", "f0x"), "text"),
    "classify": (lambda root: (root / "even.txt").rename(root / "equal.txt"), "classes"),
    "tag": (lambda root: _rename(root / "a.conll", "B-VP", "B-WP"), "tags"),
    "translate": (
        lambda root: [_rename(root / "a.tsv", f"\t{c}", f"\t{c.upper()}") for c in "ghijkl"],
        "target vocabulary",
    ),
    "generate": (lambda root: (root / "up.txt").rename(root / "us.txt"), "labels"),
    "forecast": (lambda root: _rename(root / "a.csv", "value", "amount"), "columns"),
}


@pytest.mark.parametrize("name", RENAMED)
def test_a_run_does_not_go_on_with_other_names(name: str, unrolled: Command, tmp_path: Path):
    (tmp_path / "data").mkdir()
    words = TRIALS[name].write(tmp_path / "data")
    run, (change, what) = tmp_path / "run", RENAMED[name]
    assert unrolled("train", name, *words, "--output", run, *QUICK).status == 0
    change(tmp_path / "data")
    again = unrolled("train", name, "--output", run, "--resume", "--max-steps", "14")
    assert again.status == 2
    line = again.err.splitlines()[-1].removeprefix("unrolled: error: ")
    begin, _, rest = line.partition(" (what differs: ")
    differ, _, end = rest.partition("): ")
    assert begin == "the data is not that which the run was begun with"
    assert what in differ.split(", ")
    assert end == "put that back, or start again with --overwrite"


# A line more for a file of its own.
MORE = {
    "lm": ("own/a.txt", "the dog\n"),
    "classify": ("own/even.txt", "e99\n"),
    "tag": ("own/a.conll", "barks V O\n\n"),
    "translate": ("own/a.tsv", "agg\tgga\n"),
    "generate": ("own/up.txt", "abab\n"),
    "forecast": ("own/a.csv", "2010-01,0.5\n"),
}


@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("name", MORE)
def test_a_run_does_not_go_on_with_another_file_to_judge_by(
    name: str, part: str, unrolled: Command, tmp_path: Path
):
    for folder in ("data", "own"):
        (tmp_path / folder).mkdir()
    words, own = (TRIALS[name].write(tmp_path / folder) for folder in ("data", "own"))
    run = tmp_path / "run"
    begun = unrolled("train", name, *words, f"--{part}", own[0], "--output", run, *QUICK)
    assert (begun.status, begun.err) == (0, "")
    file, line = MORE[name]
    with (tmp_path / file).open("a") as opened:
        opened.write(line)
    again = unrolled("train", name, "--output", run, "--resume", "--max-steps", "14")
    assert again.status == 2
    assert again.err.splitlines()[-1] == (
        "unrolled: error: the data is not that which the run was begun with (what differs: "
        f"{part} part): put that back, or start again with --overwrite"
    )


def test_a_run_of_another_kind_does_not_go_on(unrolled: Command, tmp_path: Path):
    (tmp_path / "data").mkdir()
    words = TRIALS["classify"].write(tmp_path / "data")
    run = tmp_path / "run"
    assert unrolled("train", "classify", *words, "--output", run, *QUICK).status == 0
    again = unrolled("train", "tag", "--output", run, "--resume")
    assert (again.status, again.err) == (
        2,
        f"unrolled: error: {run} holds a run of unrolled train classify: go on with that, or name "
        "another directory with --output\n",
    )


@pytest.mark.parametrize("change", [Path.unlink, Path.touch])
def test_a_language_model_goes_on_where_its_text_is_gone_or_the_same(
    change: Callable[[Path], object], unrolled: Command, tmp_path: Path
):
    words = TRIALS["lm"].write(tmp_path)
    run = tmp_path / "run"
    assert unrolled("train", "lm", *words, "--output", run, *QUICK).status == 0
    change(Path(words[0]))
    again = unrolled("train", "lm", "--output", run, "--resume", "--max-steps", "14")
    assert (again.status, again.err) == (0, "unrolled: note: max_steps was 12 before\n")


def test_rows_that_are_skipped_in_an_evaluation_are_said(unrolled: Command, tmp_path: Path):
    (tmp_path / "data").mkdir()
    words = TRIALS["classify"].write(tmp_path / "data")
    assert unrolled("train", "classify", *words, "--output", tmp_path / "run", *QUICK).status == 0
    (tmp_path / "more.tsv").write_text("text\tlabel\ne1\teven\no1\tneither\no3\todd\n")
    done = unrolled("eval", tmp_path / "run", tmp_path / "more.tsv", "--skip-bad", "1")
    assert done.status == 0
    assert "on 2 examples" in done.out
    assert "more.tsv, line 3" in done.out
    assert "neither" in done.out


PLAIN = """
import sys
from unrolled.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name", [n for n in TRIALS if n != "lm"])
def test_another_process_with_the_same_seed_learns_the_same(
    name: str, unrolled: Command, tmp_path: Path
):
    (tmp_path / "data").mkdir()
    words = TRIALS[name].write(tmp_path / "data")
    torch.rand(7)  # what was drawn before must not matter
    assert unrolled("train", name, *words, "--output", tmp_path / "here", *QUICK).status == 0
    command = [sys.executable, "-c", PLAIN, "train", name, *words, "--output", tmp_path / "there"]
    done = subprocess.run([*map(str, command), *QUICK], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    here, there = (tmp_path / d / "training" / "metrics.jsonl" for d in ("here", "there"))
    assert here.read_bytes() == there.read_bytes()
