"""``unrolled eval``: the table, the JSON, the plots, and what is refused."""

import json
from pathlib import Path

import pytest

from command_line import Command

LINES = "3,abc\n2,ab\n2,abc\n1,x\n"
TABLE = """\
on 4 lines
metric    model    95 % interval       baseline
accuracy  75.00 %  40.00 % to 90.00 %  50.00 % (majority class)  perhaps better
wrong     0.2500   nan to 1.0000       none

by class
a  b
1  2
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.csv"
    path.write_text(LINES)
    return path


def test_the_figures_are_a_table(unrolled: Command, fake: Path, data: Path):
    done = unrolled("eval", fake, data)
    assert (done.status, done.err) == (0, "")
    assert done.out == TABLE


def test_the_figures_as_json(unrolled: Command, fake: Path, data: Path, tmp_path: Path):
    assert unrolled("eval", fake, data, "--json", tmp_path / "f.json").status == 0
    report = json.loads((tmp_path / "f.json").read_text())
    assert report["on"] == "4 lines"
    assert report["figures"][0]["value"] == 0.75
    assert report["figures"][1]["low"] is None
    counts = report["details"]["confusion"]["counts"]
    assert (counts[2][2], counts[2][3], sum(map(sum, counts))) == (1, 1, 4)


@pytest.mark.parametrize(("form", "first"), [("png", b"\x89PNG"), ("svg", b"<?xml")])
def test_the_plots(
    unrolled: Command, fake: Path, data: Path, tmp_path: Path, form: str, first: bytes
):
    done = unrolled("eval", fake, data, "--plots", tmp_path / "plots", "--image", form)
    names = ["confusion", "recall"]
    assert done.out.endswith("".join(f"plot: {tmp_path}/plots/{n}.{form}\n" for n in names))
    for name in names:
        assert (tmp_path / "plots" / f"{name}.{form}").read_bytes().startswith(first)


def test_options_of_the_data_are_those_of_the_kind(unrolled: Command, fake: Path, data: Path):
    data.write_text(LINES.replace(",", ";"))
    assert unrolled("eval", fake, data, "--separator", ";").out.startswith("on 4 lines\n")
    shown = unrolled("eval", fake, "--help").out
    assert "--separator" in shown
    assert "This model is for: classify, a test." in " ".join(shown.split())
    assert "--separator" not in unrolled("eval", "--help").out


REFUSED = {
    "no model": (
        "eval",
        "name the model's directory first: unrolled eval MODEL …; see unrolled eval --help",
    ),
    "an option first": (
        "eval --json f.json {fake} {data}",
        "name the model's directory first: unrolled eval MODEL …; see unrolled eval --help",
    ),
    "no directory": (
        "eval {root}/no {data}",
        "there is no model directory {root}/no: check the path",
    ),
    "no model in it": (
        "eval {root} {data}",
        "{root} is no model directory: it has no config.json",
    ),
    "no data": (
        "eval {fake}",
        "the following arguments are required: data; see unrolled eval --help",
    ),
    "a wrong option": (
        "eval {fake} {data} --seperator ;",
        "there is no option --seperator: did you mean --separator?; see unrolled eval --help",
    ),
    "bad data": ("eval {fake} {data} --separator |", "{data} has no '|' in '3,abc'"),
    "a file in the way of the plots": (
        "eval {fake} {data} --plots {data}",
        "can't write {data}/confusion.png: File exists; nothing was overwritten, check the "
        "directory and its permissions",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(unrolled: Command, fake: Path, data: Path, tmp_path: Path, case: str):
    words, line = (text.format(fake=fake, data=data, root=tmp_path) for text in REFUSED[case])
    done = unrolled(*words.split())
    assert done.status == 2
    assert done.err == f"unrolled: error: {line}\n"


CONFIGS = {
    "{": "{fake}/config.json is damaged: it is no JSON (Expecting property name enclosed in double "
    "quotes: line 1 column 2 (char 1))",
    "[]": "{fake} holds no model of this Unrolled: the format in its config.json is None",
    '{"format": "classifier"}': "{fake} holds no model of this Unrolled: the format in its "
    "config.json is 'classifier'",
    '{"format": "unrolled oracle"}': "{fake} holds no model of this Unrolled: the format in its "
    "config.json is 'unrolled oracle'",
}


@pytest.mark.parametrize("content", CONFIGS)
def test_what_is_no_model_of_ours(unrolled: Command, fake: Path, data: Path, content: str):
    (fake / "config.json").write_text(content)
    assert unrolled("eval", fake, data).err == (
        f"unrolled: error: {CONFIGS[content].format(fake=fake)}\n"
    )


@pytest.mark.parametrize(
    ("command", "takes"),
    [
        ("sample", "a language model or a generator"),
        ("score", "a language model"),
        ("export c", "a language model"),
    ],
)
def test_commands_for_other_models_say_what_they_take(
    unrolled: Command, fake: Path, command: str, takes: str
):
    words = [*command.split(), fake, *(["x.txt"] if command == "score" else [])]
    done = unrolled(*words)
    assert done.status == 2
    assert done.err == (
        f"unrolled: error: unrolled {command} takes {takes}, and {fake} holds a "
        "classifier: try unrolled eval, unrolled predict or unrolled info\n"
    )
