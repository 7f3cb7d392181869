"""``unrolled export c``: what it writes, what it says, and what it refuses."""

import shlex
import subprocess
from pathlib import Path

import pytest
import torch

from command_line import Command, tree
from unrolled import GRU
from unrolled.backends.cpu.build import compiler
from unrolled.interop.c import export
from unrolled.models.language_model import LanguageModel


@pytest.mark.parametrize("weights", ["array", "blob"])
def test_what_it_says_to_run_passes(
    unrolled: Command, model: Path, tmp_path: Path, weights: str
) -> None:
    out = tmp_path / "with space"
    done = unrolled("export", "c", model, "-o", out, "--weights", weights, "--name", "lm")
    assert (done.status, done.err) == (0, "")
    *files, title, build, test = done.out.splitlines()
    names = ["lm.c", "lm.h", *(["lm.bin"] if weights == "blob" else []), "lm_test.c"]
    assert files == [f"{out / n}  {(out / n).stat().st_size:,} bytes" for n in names]
    assert title == "compile and run the test:"
    command = compiler()
    if command is None:
        pytest.skip("there is no C compiler")
    said = shlex.split(build)
    assert said[0] == "cc"
    subprocess.run([*command, *said[1:]], check=True)
    ran = subprocess.run(shlex.split(test), check=True, capture_output=True, text=True)
    assert ran.stdout.startswith("lm: 6 steps, ")
    assert "WRONG" not in ran.stdout


def test_it_writes_what_python_writes(unrolled: Command, model: Path, tmp_path: Path) -> None:
    done = unrolled("export", "c", model, "--output", tmp_path / "a", "--no-test")
    assert done.status == 0
    assert done.out.splitlines()[-1] == f"compile: cc -std=c99 -O2 -c {tmp_path / 'a' / 'model.c'}"
    export(LanguageModel.from_pretrained(model), tmp_path / "b", test=False)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")
    assert tree(tmp_path / "a").keys() == {"model.c", "model.h"}


def test_what_it_refuses(unrolled: Command, model: Path, tmp_path: Path) -> None:
    def refused(*words: object) -> str:
        done = unrolled("export", "c", *words)
        assert (done.status, done.out) == (2, "")
        return done.err

    assert refused(tmp_path / "no") == (
        f"unrolled: error: there is no model directory {tmp_path / 'no'}: check the path\n"
    )
    assert refused(model, "--weights", "file") == (
        "unrolled: error: --weights takes array or blob, not file; see unrolled export c --help\n"
    )
    assert refused(model, "--name", "2lm") == (
        "unrolled: error: the name '2lm' begins functions and macros in C: it is made of letters, "
        "digits and _, and begins with a letter\n"
    )
    assert refused(model, "--nmae", "lm") == (
        "unrolled: error: there is no option --nmae: did you mean --name?; "
        "see unrolled export c --help\n"
    )
    (tmp_path / "lm.c").write_text("int mine;")
    assert refused(model, "-o", tmp_path, "--name", "lm") == (
        f"unrolled: error: {tmp_path / 'lm.c'} is there, and no export has written it: choose "
        "another directory or name\n"
    )
    assert (tmp_path / "lm.c").read_text() == "int mine;"


def test_a_model_in_another_precision(unrolled: Command, model: Path, tmp_path: Path) -> None:
    LanguageModel.from_pretrained(model).to(torch.float64).save_pretrained(tmp_path / "double")
    done = unrolled("export", "c", tmp_path / "double", "-o", tmp_path)
    assert done.err == (
        "unrolled: error: the parameter embedding.weight is torch.float64: the C that is written "
        "computes in float32; convert a copy, copy.deepcopy(model).float()\n"
    )


def test_no_file_of_an_earlier_export_is_in_the_way(
    unrolled: Command, model: Path, tmp_path: Path
) -> None:
    export(GRU(3, 5), tmp_path, "model", "blob")
    assert unrolled("export", "c", model, "-o", tmp_path, "--weights", "blob").status == 0
