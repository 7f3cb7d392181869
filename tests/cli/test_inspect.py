"""``unrolled inspect``: the page and its figures, and one line for what can't be looked into."""

from pathlib import Path

import pytest
import torch
from markupsafe import escape

from command_line import TEXT, Command, Outcome
from unrolled.data.vocabulary import Vocabulary
from unrolled.inspect.report import PARTS
from unrolled.models.language_model import LanguageModel, LanguageModelConfig

PARTS_LISTED = ", ".join(PARTS)


def is_refused(outcome: Outcome, line: str) -> None:
    assert outcome.err == f"unrolled: error: {line}\n"
    assert outcome.status == 2


def test_it_writes_the_page_beside_the_model(model: Path, corpus: Path, unrolled: Command) -> None:
    done = unrolled("inspect", model, "--text", corpus, "--only", "equations")
    assert done.status == 0, done.err
    page = (model / "inspect" / "report.html").read_text("utf-8")
    assert "<h1>What model remembers</h1>" in page
    assert "Read: corpus.txt, 2,000 characters." in page
    assert done.out.splitlines()[0].startswith("Equations: ")
    assert done.out.splitlines()[-1] == str(model / "inspect" / "report.html")


def test_characters_and_the_directory_are_the_users(
    model: Path, corpus: Path, tmp_path: Path, unrolled: Command
) -> None:
    words = ["--only", "equations", "--characters", "77", "-o", tmp_path / "there"]
    assert unrolled("inspect", model, "--text", corpus, *words).status == 0
    assert "corpus.txt, 77 characters." in (tmp_path / "there" / "report.html").read_text("utf-8")


def test_units_are_compared_with_what_a_pattern_matches(
    model: Path, corpus: Path, unrolled: Command
) -> None:
    own = ["--property", "vowels= [aeiou]", "--property", "fox=fox"]
    words = ["--only", "neurons", "--characters", "300", *own]
    done = unrolled("inspect", model, "--text", corpus, *words)
    assert done.status == 0, done.err
    page = (model / "inspect" / "report.html").read_text("utf-8")
    assert ">vowels<" in page
    assert ">fox<" in page


def test_what_the_model_does_not_know_is_said(
    model: Path, tmp_path: Path, unrolled: Command
) -> None:
    path = tmp_path / "unk.txt"
    path.write_text("the fox\nשא the", "utf-8")
    done = unrolled("inspect", model, "--text", path, "--only", "equations")
    line = (
        "The model does not know 2 of the 14 characters, and reads <unk> for each: the first "
        "is 'ש' (line 2, column 1)."
    )
    assert done.out.splitlines()[0] == line
    page = (model / "inspect" / "report.html").read_text("utf-8")
    assert f"Read: unk.txt, 14 characters. {escape(line)}" in page


# The words after `unrolled inspect MODEL --text FILE`, and the line.
REFUSED = {
    "unknown part": (
        "--only equations,neutrons",
        f"--only takes {PARTS_LISTED}, with commas between; not 'neutrons'",
    ),
    "no part": (
        "--only equations --skip equations",
        "--only and --skip leave no part: see unrolled inspect --help",
    ),
    "no characters": ("--characters 0", "--characters takes 1 to 100,000, not 0"),
    "too many": ("--characters 100001", "--characters takes 1 to 100,000, not 100,001"),
    "position before the text": ("--position 0", "--position takes 1 or more, not 0"),
    "position behind the text": (
        "--position 2001",
        "there is no character 2,001: 2,000 of the text are read; name an earlier one or read more",
    ),
    "shorter than asked": (
        "--characters 5000",
        f"the text has {len(TEXT)} characters, fewer than the 5000 that were asked for: give a "
        "longer text or ask for fewer",
    ),
    "no run": (
        "--run {root}",
        "{root} holds no metrics of a run ({root}/training/metrics.jsonl): check --run",
    ),
    "no directory": (
        "--output {corpus}",
        "can't write to {corpus}: File exists; name another directory",
    ),
    "inside of a file": (
        "--output {corpus}/there",
        "can't write to {corpus}/there: Not a directory; name another directory",
    ),
    "property without a pattern": (
        "--property verbs",
        "--property takes NAME=PATTERN, as in 'verb=\\w+ing', not 'verbs'",
    ),
    "property that is no pattern": (
        "--property verbs=(",
        "--property verbs: '(' is no regular expression: missing ), unterminated subpattern at "
        "position 0",
    ),
    "no device": ("--device moon", "there is no device 'moon' here: try --device cpu"),
}


@pytest.mark.parametrize(("words", "line"), REFUSED.values(), ids=REFUSED)
def test_wrong_options(
    model: Path, corpus: Path, tmp_path: Path, unrolled: Command, words: str, line: str
) -> None:
    names = {"root": tmp_path, "corpus": corpus}
    given = words.format(**names).split()
    is_refused(unrolled("inspect", model, "--text", corpus, *given), line.format(**names))


TEXTS = {
    "empty": ("", "the corpus is empty: there is no character in {path}"),
    "unknown": (
        "the fox\nß€",
        "the vocabulary doesn't know 'ß' (line 2, column 1), '€' (line 2, column 2), and has no "
        "<unk> to stand for it: leave it out of the text, or look at a model that was trained "
        "with it",
    ),
}


@pytest.mark.parametrize(("text", "line"), TEXTS.values(), ids=TEXTS)
def test_wrong_texts(
    strict_model: Path, tmp_path: Path, unrolled: Command, text: str, line: str
) -> None:
    path = tmp_path / "text.txt"
    path.write_text(text, "utf-8")
    is_refused(unrolled("inspect", strict_model, "--text", path), line.format(path=path))


@pytest.fixture
def strict_model(tmp_path: Path) -> Path:
    """A model whose vocabulary has no ``<unk>``."""
    vocabulary = Vocabulary.build([TEXT], "char", unk=False)
    LanguageModel(LanguageModelConfig("gru", hidden_size=4), vocabulary).save_pretrained(
        tmp_path / "strict"
    )
    return tmp_path / "strict"


def test_no_run_of_its_own(strict_model: Path, corpus: Path, unrolled: Command) -> None:
    line = f"{strict_model} holds no metrics of a run, which health looks at: give --run"
    is_refused(unrolled("inspect", strict_model, "--text", corpus, "--only", "health"), line)


def test_the_run_beside_another_model(
    strict_model: Path, model: Path, corpus: Path, unrolled: Command
) -> None:
    words = ["--only", "health", "--run", model]
    done = unrolled("inspect", strict_model, "--text", corpus, *words)
    assert done.status == 0, done.err
    assert done.out.startswith("Training health: ")
    assert (strict_model / "inspect" / "health.png").exists()


def test_no_text(model: Path, unrolled: Command) -> None:
    line = "name the text that the model is to read: --text FILE"
    is_refused(unrolled("inspect", model), line)


def test_several_texts(model: Path, tmp_path: Path, unrolled: Command) -> None:
    (tmp_path / "texts").mkdir()
    for name in ("a", "b"):
        (tmp_path / "texts" / name).write_text(TEXT)
    is_refused(
        unrolled("inspect", model, "--text", tmp_path / "texts"),
        f"--text takes one file, and {tmp_path}/texts is 2: name one of them",
    )


def test_another_kind_of_model(fake: Path, corpus: Path, unrolled: Command) -> None:
    is_refused(
        unrolled("inspect", fake, "--text", corpus),
        f"unrolled inspect reads a text with a language model, and {fake} holds a classifier: from "
        "Python, equations, gradient_flow, jacobians and gates of unrolled.inspect look into any "
        "model",
    )


@pytest.mark.parametrize(("name", "count"), [("recurrent.weight_hh_l0", 576), ("output_bias", 32)])
def test_numbers_that_are_none(
    model: Path, corpus: Path, unrolled: Command, name: str, count: int
) -> None:
    broken = LanguageModel.from_pretrained(model)
    broken.get_parameter(name).data.fill_(torch.nan)
    broken.save_pretrained(model, overwrite=True)
    is_refused(
        unrolled("inspect", model, "--text", corpus),
        f"{name} holds {count} numbers that are not finite (of {count}): the model can't be looked "
        "into; take an earlier checkpoint",
    )
