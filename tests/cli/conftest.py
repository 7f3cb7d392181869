"""Commands in this process, and a small run to use them on."""

from pathlib import Path

import pytest

from command_line import SMALL, TEXT, Command, Outcome
from fake_task import FakeModel
from unrolled.cli import main
from unrolled.models import loading
from unrolled.tasks import table


@pytest.fixture
def unrolled(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command line in this process; what it printed before is gone."""

    def command(*words: object) -> Outcome:
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as stopped:
            status = int(stopped.code or 0)
        wrote = capsys.readouterr()
        return Outcome(status, wrote.out, wrote.err)

    return command


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture
def model(tmp_path: Path, corpus: Path, unrolled: Command) -> Path:
    """The directory of a short run that is complete."""
    done = unrolled("train", "lm", corpus, "--output", tmp_path / "model", *SMALL)
    assert done.status == 0, done.err
    return tmp_path / "model"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a model of a task that is for tests, which stands for the classifiers."""
    monkeypatch.setitem(table.KINDS, "classify", "fake_task")
    monkeypatch.setitem(loading.MODELS, "classifier", ("fake_task", "FakeModel"))
    FakeModel(9).save_pretrained(tmp_path / "fake")
    return tmp_path / "fake"
