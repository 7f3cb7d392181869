"""``unrolled experiment``: files, words, and what is refused."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import Command
from tiny_experiments import TINY
from unrolled.experiments import table
from unrolled.experiments.table import EXPERIMENTS, read


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, of in EXPERIMENTS.items():
        small = replace(of, budgets={"small": TINY[name], "full": TINY[name]})
        monkeypatch.setitem(table.EXPERIMENTS, name, small)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_is_one_command(unrolled: Command, tmp_path: Path, name: str):
    done = unrolled("experiment", name, "--output", tmp_path / "out", "--seed", 7)
    assert (done.status, done.err) == (0, "")
    kinds = ("png", "svg", "json", "txt")
    paths = [tmp_path / "out" / f"{name}.{kind}" for kind in kinds]
    assert sorted((tmp_path / "out").iterdir()) == sorted(paths)
    text = (tmp_path / "out" / f"{name}.txt").read_text()
    assert done.out == text + "\n" + "".join(f"{path}\n" for path in paths)
    assert text.endswith(f"unrolled experiment {name} --budget small --seed 7\n")
    content = json.loads((tmp_path / "out" / f"{name}.json").read_bytes())
    assert (content["experiment"], content["budget"], content["seed"]) == (name, "small", 7)
    assert [f["claim"] for f in content["findings"]] == [
        f.claim for f in EXPERIMENTS[name].findings(read(paths[2]).result)
    ]


def test_what_is_refused(unrolled: Command, tmp_path: Path):
    file = tmp_path / "file"
    file.write_text("")
    for words, line in {
        ("nothing",): (
            "there is no experiment 'nothing': there are vanishing, exploding, memory, counting, "
            "speed"
        ),
        ("vanishing", "--seed", "-1"): "seed is at least 0, not -1",
        ("vanishing", "--budget", "large"): (
            "--budget takes small or full, not large; see unrolled experiment --help"
        ),
        ("vanishing", "-o", file): f"{file} is a file: name a directory with --output",
    }.items():
        done = unrolled("experiment", *words)
        assert (done.status, done.err) == (2, f"unrolled: error: {line}\n")


def test_without_matplotlib_it_says_so_before_it_computes(
    unrolled: Command, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setattr(table, "run", None)
    done = unrolled("experiment", "vanishing")
    assert (done.status, done.err) == (
        2,
        "unrolled: error: pictures need matplotlib, which is not installed: "
        "pip install 'unrolled[plots]'\n",
    )
