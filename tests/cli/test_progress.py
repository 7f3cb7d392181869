"""The progress bar, as a terminal would show it."""

import re
import sys

import pytest

from unrolled.cli.progress import Progress
from unrolled.train.observe import Moment


def moment(step: int, loss: float | None) -> Moment:
    return Moment(step=step, total=40, targets=1000 * step, seconds=0.5 * step, loss=loss)


def shown(capsys: pytest.CaptureFixture[str], *, first: int = 0) -> tuple[list[str], str]:
    """The states of the bar, and what else was printed, of a run from step ``first``."""
    bar = Progress("character")
    bar.started(moment(first, None))
    for step in range(first + 1, 41):
        if step == 20:
            bar.measured(
                {
                    "split": "validation",
                    "step": 20,
                    "epoch": 2,
                    "loss": 1.5,
                    "perplexity": 4.4816891,
                }
            )
            bar.measured({"split": "train", "step": 20, "loss": 9.5})
        bar.stepped(moment(step, 2.0))
    bar.finished(moment(40, 2.0))
    wrote = capsys.readouterr()
    return [state for state in wrote.err.replace("\n", "\r").split("\r") if state], wrote.out


def test_the_bar_shows_loss_speed_and_time_left(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    states, out = shown(capsys)
    end = r"step 40 of 40, loss 2\.000, 2,000 characters a second, 00:00 left"
    assert re.search(rf"^100% \|.*\| {end}$", states[-1].rstrip())
    assert "validation: loss 1.5, perplexity 4.4817" in out
    assert "9.5" not in out


def test_a_resumed_bar_begins_where_the_run_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    states, _ = shown(capsys, first=30)
    assert states[0].startswith(" 75% |")
    # The speed of this sitting, not of those before it.
    assert "2,000 characters a second" in states[-1]


def test_without_a_terminal_there_is_no_bar(capsys: pytest.CaptureFixture[str]):
    states, out = shown(capsys)
    assert states == []
    assert out == "step 20, validation: loss 1.5, perplexity 4.4817\n"
