"""The other commands: sample, score, info, and what stands above them all."""

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch

from command_line import Command
from unrolled.cli import COMMANDS
from unrolled.models.language_model import LanguageModel


def test_a_sample_is_that_of_the_model(unrolled: Command, model: Path):
    loaded = LanguageModel.from_pretrained(model)
    options = {"length": 60, "temperature": 0.7, "top_k": 5, "top_p": 0.9, "seed": 3}
    words = [w for k, v in options.items() for w in (f"--{k.replace('_', '-')}", v)]
    done = unrolled("sample", model, "--prompt", "the ", *words)
    assert done.status == 0
    assert done.err == ""
    expected = "".join(loaded.generate("the ", 60, 0.7, 5, 0.9, 3))
    assert done.out == f"the {expected}\n"


def test_without_a_seed_samples_differ(unrolled: Command, model: Path):
    words = ["sample", model, "--length", "200", "--temperature", "1"]
    assert unrolled(*words).out != unrolled(*words).out
    seeded = [*words, "--seed", "4"]
    assert unrolled(*seeded).out == unrolled(*seeded).out


def test_a_sample_comes_piece_by_piece(model: Path):
    """The first pieces are there long before the last one."""
    words = ["sample", str(model), "--length", "1000000", "--temperature", "1", "--seed", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "unrolled", *words, "--top-k", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as running:
        assert running.stdout is not None
        assert len(running.stdout.read(20)) == 20
        assert running.poll() is None
        # Whoever reads has enough: no complaint.
        running.stdout.close()
        assert running.stderr is not None
        assert running.stderr.read() == b""
    assert running.returncode == 0


def test_a_terminal_that_lacks_a_character_shows_its_number(model: Path):
    result = subprocess.run(
        [sys.executable, "-m", "unrolled", "sample", str(model), "--prompt", "é", "--length", "0"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout == "\\xe9\n"


def test_a_prompt_may_begin_with_a_dash(unrolled: Command, model: Path):
    done = unrolled("sample", model, "--length", "3", "--seed", "0", "--prompt", "--x")
    assert done.status == 0
    assert done.out.startswith("--x")


def test_scores_are_those_of_the_model(unrolled: Command, tmp_path: Path, model: Path):
    lines = ["the quick fox", "", "xq zj", "dog\u2028 lazy"]
    (tmp_path / "lines.txt").write_text("\n".join(lines) + "\n")
    done = unrolled("score", model, tmp_path / "lines.txt")
    assert done.status == 0
    loaded = LanguageModel.from_pretrained(model)
    *scored, whole, unknown = done.out.splitlines()
    assert [row.partition("\t")[2] for row in done.out.split("\n")[:4]] == lines
    start = loaded.encode("\n")
    for row, line in zip(done.out.split("\n"), lines, strict=False):
        ids = torch.cat([start, loaded.encode(line + "\n")]).unsqueeze(1)
        with torch.no_grad():
            logits, _ = loaded(ids[:-1])
        expected = logits.log_softmax(-1)[:, 0].gather(1, ids[1:]).sum().item()
        assert float(row.partition("\t")[0]) == pytest.approx(expected, abs=2e-3)
    text = "\n".join(lines) + "\n"
    loss = -loaded.log_probability(text).mean().item()
    assert whole.startswith(f"{tmp_path / 'lines.txt'}, {len(text)} characters: {loss:.4f} nats")
    assert unknown == "1 of these were read as <unk>"
    assert len(scored) >= 4


def test_the_figures_alone(unrolled: Command, model: Path, corpus: Path):
    done = unrolled("score", model, corpus, "--no-lines")
    assert done.status == 0
    assert done.out.startswith(f"{corpus}, 3,440 characters: ")
    assert done.out.count("\n") == 1


def test_info_shows_sizes_parameters_equations_and_plan(unrolled: Command, model: Path):
    done = unrolled("info", model)
    assert done.status == 0
    for expected in (
        "cell          lstm\n",
        "hidden units  12\n",
        "vocabulary    32 characters\n",
        "recurrent.weight_hh_l0  [48, 12]  576\n",
        "together                          1,728\n",
        "c_{t} &= f_{t} \\odot c_{t-1} + i_{t} \\odot g_{t}",
        "backend 'torch'",
        "before the loop, all time steps at once:",
        "in the loop:",
        "after the loop, all time steps at once:",
    ):
        assert expected in done.out
    loss = done.out.partition("validation    ")[2].partition(" nats per character")[0]
    assert 0 < float(loss) < 3.5


def test_info_of_a_model_without_its_run(unrolled: Command, tmp_path: Path, model: Path):
    LanguageModel.from_pretrained(model).save_pretrained(tmp_path / "alone")
    done = unrolled("info", tmp_path / "alone")
    assert done.status == 0
    assert "validation" not in done.out
    assert not (tmp_path / "alone" / "training").exists()


@pytest.mark.parametrize("command", [*map(" ".join, COMMANDS), ""])
def test_each_command_has_help(unrolled: Command, command: str):
    shown = unrolled(*command.split(), "--help")
    assert shown.status == 0
    assert shown.err == ""
    for words, (_, purpose) in COMMANDS.items():
        if not command:
            assert f"unrolled {' '.join(words)}" in shown.out
            assert purpose in shown.out
    if command:
        assert shown.out.startswith(f"usage: unrolled {command} ")
        assert f"example: unrolled {command} " in shown.out


def test_without_a_command_there_is_an_overview(unrolled: Command):
    assert unrolled().status == 2
    assert unrolled().out == unrolled("--help").out
    assert unrolled("train").out.count("unrolled train ") == 6
    assert unrolled("train", "--help").status == 0


def test_the_version(unrolled: Command):
    assert unrolled("--version").out == f"unrolled {metadata.version('unrolled')}\n"


def test_without_the_extra_the_command_line_says_what_to_install(model: Path):
    code = (
        "import sys; sys.modules['jsonargparse'] = None\n"
        "from unrolled.cli import main; sys.exit(main(['info', sys.argv[1]]))"
    )
    command = [sys.executable, "-c", code, str(model)]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env=dict(os.environ)
    )
    assert result.returncode == 2
    assert result.stderr == (
        "unrolled: error: the command line needs jsonargparse, which is not installed: "
        "pip install 'unrolled[cli]'\n"
    )
