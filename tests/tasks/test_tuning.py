"""The search: its space, its trials, and that it can be stopped and gone on with at any place."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from unrolled.errors import DataError, ModelError, TrainingError, UserError
from unrolled.tasks.search_space import Choice, Range, parse, read_flags
from unrolled.tasks.tuning import Outcome, Search, Tried, Watch
from unrolled.train.observe import Moment
from unrolled.train.task import Metric

HINTS: dict[str, Any] = {
    "learning_rate": float,
    "hidden_size": int,
    "dropout": float,
    "cell": str,
    "patience": int | None,
    "checkpoint": int | Literal["sqrt"] | None,
}


def read(name: str, text: str) -> Any:
    """As the options of a command do: a number where it is one."""
    if text == "null":
        return None
    if HINTS[name] is str:
        return text
    try:
        return float(text) if HINTS[name] is float else int(text)
    except ValueError:
        raise UserError(f"--{name} takes a number, not {text}") from None


def test_ranges_and_choices():
    flags = [
        "learning_rate=log:1e-4:1e-2",
        "dropout=0:0.5",
        "hidden-size=log:32:512",
        "patience = 1:5",
        "checkpoint=4,null",
        "cell=lstm, own.py:mine ,zoneout(lstm, c=0.1)",
    ]
    assert parse(read_flags(flags), HINTS, read) == {
        "learning_rate": Range(1e-4, 1e-2, log=True, whole=False),
        "dropout": Range(0.0, 0.5, log=False, whole=False),
        "hidden_size": Range(32, 512, log=True, whole=True),
        "patience": Range(1, 5, log=False, whole=True),
        "checkpoint": Choice({"4": 4, "null": None}),
        "cell": Choice({name: name for name in ("lstm", "own.py:mine", "zoneout(lstm, c=0.1)")}),
    }


FLAGS = {
    "learning_rate": (
        "--search takes name=…, with low:high, log:low:high, or values with commas between them; "
        "not 'learning_rate'"
    ),
    "dropout=": (
        "--search takes name=…, with low:high, log:low:high, or values with commas between them; "
        "not 'dropout='"
    ),
    "dropuot=0:1": "there is no field 'dropuot' to search: did you mean dropout?",
    "x=0:1": (
        "there is no field 'x' to search: there are learning_rate, hidden_size, dropout, cell, "
        "patience, checkpoint"
    ),
    "hidden_size=0.5:1": "hidden_size=0.5:1: expected whole numbers on both sides of the colon",
    "dropout=1e:2": "dropout=1e:2: expected numbers on both sides of the colon",
    "dropout=0.5:0.1": "dropout=0.5:0.1: the first number must be below the second",
    "dropout=log:0:0.1": "dropout=log:0:0.1: a range by factors begins above 0",
    "dropout=0.1,,0.2": "dropout=0.1,,0.2: a value is missing, or comes twice",
    "dropout=0.1,0.1": "dropout=0.1,0.1: a value is missing, or comes twice",
    "dropout=0.1,much": "--dropout takes a number, not much",
    "dropout=lin:0:1": "--dropout takes a number, not lin:0:1",
}


@pytest.mark.parametrize("flag", FLAGS)
def test_what_is_no_space(flag: str):
    with pytest.raises(UserError) as caught:
        parse(read_flags([flag]), HINTS, read)
    assert str(caught.value) == FLAGS[flag]


def test_a_space_has_fields_and_each_once():
    with pytest.raises(UserError) as caught:
        parse({}, HINTS, read)
    assert str(caught.value) == (
        "there is nothing to search: name a field, as in --search learning_rate=log:1e-4:1e-2"
    )
    with pytest.raises(UserError) as caught:
        read_flags(["hidden-size=1:2", "hidden_size=3:4"])
    assert str(caught.value) == "--search gives hidden_size twice"


SPACE = {
    "learning_rate": Range(1e-4, 1.0, log=True, whole=False),
    "hidden_size": Choice({"64": 64, "none": None}),
}
LOSS, ACCURACY = Metric("loss", "lower"), Metric("accuracy", "higher")
VALIDATIONS = 5


class Training:
    """A run whose loss falls to the distance of the learning rate from 0.01, in powers of ten."""

    def __init__(self, metric: Metric = LOSS) -> None:
        self.metric = metric
        self.settings: list[dict[str, Any]] = []
        self.validations: list[int] = []
        self.hooks: dict[int, Callable[[], None]] = {}

    def __call__(self, settings: dict[str, Any], directory: Path, watch: Watch) -> Outcome:
        self.settings.append(settings)
        self.validations.append(0)
        hook = self.hooks.get(len(self.settings) - 1)
        if hook:
            hook()
        observer = watch(self.metric)
        observer.started(Moment(0, 10 * VALIDATIONS, 0, 0.0, None))
        loss = abs(math.log10(settings["learning_rate"]) + 2)
        value = math.nan
        sign = -1 if self.metric.better == "higher" else 1
        for k in range(VALIDATIONS):
            value = sign * (loss + 0.1 * (VALIDATIONS - k))
            self.validations[-1] += 1
            observer.measured({"split": "train", "step": 10 * (k + 1), "loss": math.inf})
            record = {"split": "validation", "step": 10 * (k + 1), self.metric.name: value}
            observer.measured(record)
        return Outcome(value, self.metric)


def searched(
    directory: Path, train: Any, trials: int, minutes: float | None = None, **facts: Any
) -> tuple[Search, list[Tried], bool]:
    search = Search(directory, SPACE, facts or {"data": "x"}, seed=1)
    told: list[Tried] = []
    ended = search.run(train, trials, minutes, told.append)
    return search, told, ended


@pytest.mark.parametrize("metric", [LOSS, ACCURACY])
def test_it_finds_what_is_better_than_chance(tmp_path: Path, metric: Metric):
    training = Training(metric)
    search, told, ended = searched(tmp_path, training, 40)
    assert ended
    assert len(told) == len(training.settings) == 40
    assert search.metric == metric
    best = search.best()
    assert best is not None
    # Forty blind draws over four powers of ten come so near in 87 of 100 searches.
    assert abs(math.log10(best.settings["learning_rate"]) + 2) < 0.1
    complete = [t.value for t in told if t.state == "complete" and t.value is not None]
    assert best.value == (max(complete) if metric.better == "higher" else min(complete))
    assert search.settings(best)["hidden_size"] in (64, None)


def test_bad_trials_are_given_up_and_no_good_one(tmp_path: Path):
    training = Training()
    search, told, _ = searched(tmp_path, training, 30)
    pruned = [t for t in told if t.state == "pruned"]
    assert pruned
    assert all(training.validations[t.number] < VALIDATIONS for t in pruned)
    assert all(t.state == "complete" for t in told[:5])
    best = search.best()
    assert best is not None
    lowest = min(abs(math.log10(s["learning_rate"]) + 2) for s in training.settings)
    assert abs(math.log10(best.settings["learning_rate"]) + 2) == lowest


def test_the_same_seed_tries_the_same(tmp_path: Path):
    both = [Training(), Training()]
    for k, training in enumerate(both):
        searched(tmp_path / str(k), training, 12)
    assert both[0].settings == both[1].settings


def test_a_search_goes_on_where_it_was(tmp_path: Path):
    first, second = Training(), Training()
    searched(tmp_path, first, 4)
    search, told, _ = searched(tmp_path, second, 7)
    assert [t.number for t in told] == [4, 5, 6]
    assert len(search.tried()) == 7
    rates = [s["learning_rate"] for s in first.settings + second.settings]
    assert len(set(rates)) == 7
    _, told, ended = searched(tmp_path, Training(), 7)
    assert (told, ended) == ([], True)


def killed() -> None:
    raise SystemExit


@pytest.mark.parametrize("times", [1, 2])
def test_what_was_being_tried_when_it_was_killed_is_tried_again(tmp_path: Path, times: int):
    training = Training()
    training.hooks = dict.fromkeys(range(2, 2 + times), killed)
    for _ in range(times):
        with pytest.raises(SystemExit):
            searched(tmp_path, training, 5)
    search, _, _ = searched(tmp_path, training, 5)
    assert [s["learning_rate"] for s in training.settings[2 : 3 + times]] == (
        [training.settings[2]["learning_rate"]] * (times + 1)
    )
    assert len(search.tried()) == 5
    assert len(training.settings) == 5 + times


def test_a_user_who_stops_it_stops_it(tmp_path: Path):
    training = Training()

    def stopped(settings: dict[str, Any], directory: Path, watch: Watch) -> Outcome:
        outcome = training(settings, directory, watch)
        return Outcome(outcome.best, LOSS, stopped=len(training.settings) == 3)

    _, told, ended = searched(tmp_path, stopped, 5)
    assert (len(told), ended) == (2, False)
    search, told, ended = searched(tmp_path, stopped, 5)
    assert (len(told), len(search.tried()), ended) == (3, 5, True)
    assert training.settings[3] == training.settings[2]


@pytest.mark.parametrize("error", [TrainingError("the loss is nan"), ModelError("tied")])
def test_settings_that_can_not_be_trained_with_are_noted(tmp_path: Path, error: Exception):
    training = Training()

    def fails() -> None:
        raise error

    training.hooks[1] = fails
    search, told, _ = searched(tmp_path, training, 4)
    assert [t.state for t in told] == ["complete", "failed", "complete", "complete"]
    assert told[1].problem == str(error)
    assert len(search.tried()) == 4
    _, told, _ = searched(tmp_path, Training(), 4)
    assert told == []


def test_bad_data_ends_the_search(tmp_path: Path):
    training = Training()

    def fails() -> None:
        raise DataError("there is no file x")

    training.hooks[0] = fails
    with pytest.raises(DataError, match="there is no file x"):
        searched(tmp_path, training, 4)


def test_without_validation_nothing_is_best(tmp_path: Path):
    with pytest.raises(UserError) as caught:
        searched(tmp_path, lambda *_: Outcome(None, LOSS), 4)
    assert str(caught.value) == (
        "nothing is validated, so that no settings are better than others: raise "
        "--validation-fraction"
    )


def test_another_search_is_not_mixed_with_it(tmp_path: Path):
    searched(tmp_path, Training(), 1, data="x", kind="lm")
    with pytest.raises(UserError) as caught:
        searched(tmp_path, Training(), 2, data="y", kind="lm")
    assert str(caught.value) == (
        f"{tmp_path} holds a search that was begun with other data: name another directory with "
        "--output, or give it what it was begun with"
    )


def test_no_trial_begins_after_the_time(tmp_path: Path):
    _, told, ended = searched(tmp_path, Training(), 5, minutes=1e-9)
    assert (told, ended) == ([], True)
