"""The search for settings, with Optuna (the extra ``tune``): trials that can be gone on with.

Settings are drawn by the tree-structured Parzen estimator (Bergstra et al., "Algorithms for
hyper-parameter optimization", 2011). A trial that is below the median of those before it at the
same validation is given up (Golovin et al., "Google Vizier", 2017). All that was tried is in
Optuna's journal, a file in the search's directory; what was being tried when the search was stopped
is tried again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unrolled.errors import CellError, ModelError, TrainingError, UserError
from unrolled.tasks.search_space import Choice, Range, Space
from unrolled.train.metrics import Value
from unrolled.train.observe import Moment, Observer
from unrolled.train.task import Metric

if TYPE_CHECKING:
    import optuna

JOURNAL = "journal.log"

State = Literal["complete", "pruned", "failed"]

_RANDOM_FIRST = 10
_NOT_PRUNED_FIRST = 5
# Of a configuration that can't be trained with, not of the data or the disk.
_FAILURES = (CellError, ModelError, TrainingError)


@dataclass(frozen=True)
class Outcome:
    """How the training of a trial ended.

    Attributes:
        best: The best figure of validation; None where nothing was validated.
        metric: Which figure.
        stopped: Whether the user stopped it.
    """

    best: float | None
    metric: Metric
    stopped: bool = False


Watch = Callable[[Metric], Observer]
Train = Callable[[dict[str, Any], Path, Watch], Outcome]
"""Trains with some settings in a directory, where the observer sees it go by."""


@dataclass(frozen=True)
class Tried:
    """A trial that has come to an end.

    Attributes:
        number: From 0 in the order of their beginnings.
        settings: The values of the fields that were searched, as they were written.
        state: How it ended.
        value: The best figure of validation, if it is complete; the last one, if it was pruned.
        problem: What went wrong, if it failed.
    """

    number: int
    settings: Mapping[str, Any]
    state: State
    value: float | None
    problem: str = ""


class Search:
    """A search in a directory, new or gone on with.

    Attributes:
        metric: What is best, known after the first trial.
    """

    def __init__(self, directory: Path, space: Space, facts: Mapping[str, Any], seed: int) -> None:
        """Opens the journal.

        Args:
            directory: Where journal and trials are.
            space: What to choose from.
            facts: What makes it this search and no other, as JSON can hold it.
            seed: Where the draws start.

        Raises:
            UserError: where Optuna is not installed, or the directory holds another search.
        """
        optuna = _optuna()
        directory.mkdir(parents=True, exist_ok=True)
        backend = optuna.storages.journal.JournalFileBackend(str(directory / JOURNAL))
        self._directory, self._space = directory, space
        self._study = optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            study_name="unrolled",
            pruner=optuna.pruners.MedianPruner(_NOT_PRUNED_FIRST),
            load_if_exists=True,
        )
        # A search that goes on must not draw again what it began with.
        begun = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=_RANDOM_FIRST, seed=seed + begun
        )
        held = self._study.user_attrs.get("facts")
        if held is not None and held != facts:
            changed = [name for name in {**held, **facts} if held.get(name) != facts.get(name)]
            raise UserError(
                f"{directory} holds a search that was begun with other {', '.join(changed)}: name "
                "another directory with --output, or give it what it was begun with"
            )
        self._study.set_user_attr("facts", dict(facts))
        metric = self._study.user_attrs.get("metric")
        self.metric = None if metric is None else Metric(**metric)

    def path(self, number: int) -> Path:
        """The directory of a trial."""
        return self._directory / f"trial-{number:04d}"

    def tried(self) -> list[Tried]:
        """The trials that have come to an end."""
        states: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "FAIL": "failed"}
        found: list[Tried] = []
        for trial in self._study.get_trials(deepcopy=False):
            problem = trial.user_attrs.get("problem", "")
            if _has_ended(trial):
                value = None if trial.value is None else self._sign() * trial.value
                state = states[trial.state.name]
                found.append(Tried(trial.number, trial.params, state, value, problem))
        return found

    def best(self) -> Tried | None:
        """The best of the complete trials."""
        complete = [t for t in self.tried() if t.state == "complete" and t.value is not None]
        return min(complete, key=lambda t: self._sign() * (t.value or 0.0), default=None)

    def settings(self, tried: Tried) -> dict[str, Any]:
        """A trial's values for the fields that are searched."""
        return {n: _meant(self._space[n], given) for n, given in tried.settings.items()}

    def run(
        self, train: Train, trials: int, minutes: float | None, tell: Callable[[Tried], None]
    ) -> bool:
        """Tries until there are so many trials, those of earlier sittings counted.

        Args:
            train: Trains one.
            trials: How many there are to be altogether.
            minutes: Begin no other after so many, None for as long as it takes.
            tell: Called for each trial at its end.

        Returns:
            Whether it came to its end; else the user has stopped it.

        Raises:
            UserError: where nothing is validated, or where the data can't be used.
        """
        deadline = None if minutes is None else time.monotonic() + 60 * minutes
        self._try_again()
        while len(self.tried()) < trials and not (deadline and time.monotonic() >= deadline):
            tried = self._try(train)
            if tried is None:
                return False
            tell(tried)
        return True

    def _try(self, train: Train) -> Tried | None:
        optuna = _optuna()
        trial = self._study.ask()
        settings = {name: _drawn(trial, name, part) for name, part in self._space.items()}
        states = optuna.trial.TrialState
        try:
            outcome = train(
                settings,
                self.path(trial.number),
                lambda metric: _Pruning(trial, metric, self._sign_of(metric)),
            )
        except optuna.TrialPruned:
            self._study.tell(trial, state=states.PRUNED)
        except _FAILURES as error:
            trial.set_user_attr("problem", str(error))
            self._study.tell(trial, state=states.FAIL)
        else:
            if outcome.stopped:
                self._study.tell(trial, state=states.FAIL)
                return None
            if outcome.best is None:
                raise UserError(
                    "nothing is validated, so that no settings are better than others: raise "
                    "--validation-fraction"
                )
            self._study.tell(trial, self._sign_of(outcome.metric) * outcome.best)
        return next(t for t in self.tried() if t.number == trial.number)

    def _try_again(self) -> None:
        """What was being tried when the search was stopped or killed."""
        states = _optuna().trial.TrialState
        again: list[int] = self._study.user_attrs.get("again", [])
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == states.WAITING or trial.number in again or _has_ended(trial):
                continue
            if trial.state == states.RUNNING:
                self._study.tell(trial.number, state=states.FAIL)
            again = [*again, trial.number]
            self._study.set_user_attr("again", again)
            self._study.enqueue_trial(trial.params)

    def _sign(self) -> int:
        """What a figure is multiplied by to be better the lower it is."""
        return -1 if self.metric is not None and self.metric.better == "higher" else 1

    def _sign_of(self, metric: Metric) -> int:
        if self.metric is None:
            self.metric = metric
            kept = {"name": metric.name, "better": metric.better}
            self._study.set_user_attr("metric", kept)
        return self._sign()


class _Pruning(Observer):
    """Tells Optuna each validation, and gives a trial up that is worse than most before it."""

    def __init__(self, trial: optuna.Trial, metric: Metric, sign: int) -> None:
        self._trial, self._metric, self._sign = trial, metric, sign
        self._count = self._total = 0

    def started(self, moment: Moment) -> None:
        """Notes how long the run is."""
        self._total = moment.total

    def measured(self, record: Mapping[str, Value]) -> None:
        """Raises ``optuna.TrialPruned`` for a run that is not worth going on with."""
        if record["split"] != "validation":
            return
        # Validations are counted, since with another batch size their steps are others.
        self._trial.report(self._sign * float(record[self._metric.name]), self._count)
        self._count += 1
        if record["step"] != self._total and self._trial.should_prune():
            raise _optuna().TrialPruned


def _has_ended(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether there is nothing more to try in it."""
    if trial.state.name == "FAIL":
        return "problem" in trial.user_attrs
    return trial.state.is_finished()


def _drawn(trial: optuna.Trial, name: str, part: Range | Choice) -> Any:
    if isinstance(part, Choice):
        return part.values[trial.suggest_categorical(name, list(part.values))]
    if part.whole:
        return trial.suggest_int(name, int(part.low), int(part.high), log=part.log)
    return trial.suggest_float(name, part.low, part.high, log=part.log)


def _meant(part: Range | Choice, given: Any) -> Any:
    return part.values[given] if isinstance(part, Choice) else given


def _optuna() -> Any:
    try:
        import optuna
        import optuna.storages.journal  # pyright: ignore[reportUnusedImport]
    except ModuleNotFoundError as error:
        raise UserError(
            "a search needs optuna, which is not installed: pip install 'unrolled[tune]'"
        ) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
