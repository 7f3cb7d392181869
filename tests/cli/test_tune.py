"""``unrolled tune``: what it tries, what it leaves, what is refused; trainings are pretended."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from command_line import Command
from unrolled.cli import tune
from unrolled.errors import TrainingError
from unrolled.tasks.kind import Kind
from unrolled.tasks.tuning import Outcome, Watch
from unrolled.train.directory import lock
from unrolled.train.task import Metric

Trained = list[tuple[dict[str, Any], Path]]
SEARCH = ["--search", "learning_rate=log:1e-4:1", "--search=limit=3,5", "--epochs", "7"]


@pytest.fixture
def trained(fake: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """The settings and the directory of each run; its accuracy falls with the learning rate."""
    runs: Trained = []

    def train(
        kind: Kind, values: dict[str, Any], directory: Path, device: str, watch: Watch
    ) -> Outcome:
        print("a line of the run's own")
        runs.append((values, directory))
        if values["limit"] == 4:
            raise TrainingError("the loss is nan")
        metric = Metric("accuracy", "higher")
        watch(metric)
        return Outcome(-math.log10(values["learning_rate"]), metric, stopped=len(runs) == 99)

    monkeypatch.setattr(tune, "train_trial", train)
    return runs


def test_it_tries_and_says_what_is_best(unrolled: Command, trained: Trained, tmp_path: Path):
    out = tmp_path / "tune"
    done = unrolled("tune", "classify", "a.csv", "b.csv", *SEARCH, "--trials", 6, "--output", out)
    assert (done.status, done.err) == (0, "")
    assert len(trained) == 6
    for k, (values, directory) in enumerate(trained):
        assert values["data"] == ["a.csv", "b.csv"]
        assert values["epochs"] == 7
        assert values["limit"] in (3, 5)
        assert directory == out / f"trial-{k:04d}"
        assert (directory / "log.txt").read_text() == "a line of the run's own\n"
    rates = [values["learning_rate"] for values, _ in trained]
    best = min(range(6), key=lambda k: rates[k])
    lines = done.out.splitlines()
    assert lines[0].startswith("trial 0 (1 of 6): accuracy ")
    assert lines[-1] == f"the model of that trial is in {out}/trial-{best:04d}"
    assert lines[-2] == (
        f"  unrolled train classify a.csv b.csv --config {out}/best.yaml "
        "--output runs/classify-best"
    )
    assert f"trial {best}" in next(line for line in lines[7:] if line.startswith("  "))
    settings = {"learning_rate": rates[best], "limit": trained[best][0]["limit"]}
    assert yaml.safe_load((out / "best.yaml").read_text()) == {"epochs": 7, **settings}


def test_it_goes_on(unrolled: Command, trained: Trained, tmp_path: Path):
    words = ["tune", "classify", "a.csv", *SEARCH, "--output", tmp_path / "tune"]
    unrolled(*words, "--trials", 2)
    done = unrolled(*words, "--trials", 3)
    assert len(trained) == 3
    assert done.out.startswith("trial 2 (3 of 3): accuracy ")
    done = unrolled(*words, "--trials", 3, "--epochs", 8)
    assert (done.status, len(trained)) == (2, 3)
    assert done.err == (
        f"unrolled: error: {tmp_path}/tune holds a search that was begun with other settings: name "
        "another directory with --output, or give it what it was begun with\n"
    )


def test_a_space_in_a_file(unrolled: Command, trained: Trained, tmp_path: Path):
    path = tmp_path / "space.yaml"
    path.write_text("learning_rate: log:1e-4:1\nlimit: [3, 5]\nnesterov: 1\n")
    words = ["tune", "classify", "x", "--space", path, "--output", tmp_path / "t", "--trials", 3]
    assert unrolled(*words).err.startswith(
        "unrolled: error: there is no field 'nesterov' to search: there are separator, "
    )
    path.write_text("learning_rate: log:1e-4:1\nlimit: [3, 5]\n")
    assert unrolled(*words, "--search", "limit=8,9").status == 0
    assert {values["limit"] for values, _ in trained} <= {8, 9}


def test_what_fails_is_said(unrolled: Command, trained: Trained, tmp_path: Path):
    words = ["tune", "classify", "x", "--search", "limit=4", "--output", tmp_path / "t"]
    done = unrolled(*words, "--trials", 2)
    assert done.status == 2
    assert done.out == "trial 0 (1 of 2): failed: limit 4\ntrial 1 (2 of 2): failed: limit 4\n"
    assert done.err == (
        "unrolled: note: trial 0: the loss is nan\nunrolled: note: trial 1: the loss is nan\n"
        "unrolled: error: no trial came to its end; the first failure: the loss is nan\n"
    )


def test_who_stops_it_is_told_how_to_go_on(unrolled: Command, trained: Trained, tmp_path: Path):
    trained += [({}, tmp_path)] * 97
    words = ["tune", "classify", "x", *SEARCH, "--output", tmp_path / "t", "--trials", 5]
    done = unrolled(*words)
    assert done.status == 130
    assert done.err == "stopped; the same command goes on with the search\n"
    assert "the best of 1 complete trials, by accuracy:" in done.out
    assert unrolled(*words).status == 0
    assert len(trained) == 97 + 6


def held(directory: Path) -> Callable[[], None]:
    directory.mkdir(parents=True)
    file = (directory / "lock").open("wb")
    assert lock(file)
    return file.close


def test_only_one_searches_in_a_directory(unrolled: Command, trained: Trained, tmp_path: Path):
    release = held(tmp_path / "t")
    done = unrolled("tune", "classify", "x", *SEARCH, "--output", tmp_path / "t")
    release()
    assert (done.status, trained) == (2, [])
    assert done.err == (
        f"unrolled: error: another process searches in {tmp_path}/t: wait for its end, or name "
        "another directory with --output\n"
    )


REFUSED = {
    "": "name what to train first: unrolled tune lm|classify|tag|translate|generate|forecast "
    "DATA…; see unrolled tune --help",
    "clasify x": "there is no kind of task 'clasify': did you mean classify?",
    "classify x": "there is nothing to search: name a field, as in --search "
    "learning_rate=log:1e-4:1e-2",
    "classify x --search limit": "--search takes name=…, with low:high, log:low:high, or values "
    "with commas between them; not 'limit'",
    "classify x --search limit=some": "--limit takes a whole number, not some; see unrolled tune "
    "--help",
    "classify x --search limit=3,4 --limit 3": "limit is searched and set: leave one of the two "
    "out",
    "classify x --search limit=3,4 --trials 0": "trials is at least 1, not 0",
    "classify x --space no.yaml": "can't read no.yaml: No such file or directory",
    "classify x --space list.yaml": "list.yaml has no lines such as learning_rate: log:1e-4:1e-2",
    "classify x --space bad.yaml": "bad.yaml is no YAML: line 1 can't be read",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_is_refused(
    unrolled: Command, trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bad.yaml").write_text("[")
    done = unrolled("tune", *words.split())
    assert (done.status, done.err, trained) == (2, f"unrolled: error: {REFUSED[words]}\n", [])
