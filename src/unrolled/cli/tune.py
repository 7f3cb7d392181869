"""``unrolled tune``: a search for the settings of a model that do best on validation."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from unrolled.cli.eval import terminal_width
from unrolled.cli.options import Options, pick
from unrolled.cli.trial import train_trial
from unrolled.data.files import staged
from unrolled.errors import DataError, TrainingError, UserError
from unrolled.tasks import search_space
from unrolled.tasks.kind import Kind
from unrolled.tasks.table import KINDS, kind_called
from unrolled.tasks.tuning import Outcome, Search, Tried, Watch
from unrolled.train.config import TrainConfig
from unrolled.train.directory import lock

BEST = "best.yaml"

_INTERRUPTED = 130
_SHOWN = 5


@dataclass(frozen=True)
class TuneConfig:
    """What is searched, and how long.

    Attributes:
        output: The directory of the search; where there is one, it is gone on with.
        space: A YAML file with what --search says, a line a field.
        trials: How many settings to try, those of earlier sittings counted.
        minutes: Begin no other trial after so many minutes.
        device: Where to compute, such as cpu or cuda; auto takes a GPU where there is one.
    """

    output: str = "runs/tune"
    space: str | None = None
    trials: int = 20
    minutes: float | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise UserError(f"trials is at least 1, not {self.trials}")


def run(arguments: list[str]) -> int:
    """Searches, and gives the exit status."""
    kind = _kind(arguments)
    options = _options(kind)
    words = arguments[1:] if kind else arguments
    values: dict[str, Any] = {"data": [], "search": [], **options.read(words)}
    assert kind is not None  # help has ended the program
    config = pick(TuneConfig, values)
    searched = [kind.data, kind.config, TrainConfig]
    space = search_space.parse(
        _specifications(config, values), options.hints(searched), options.value
    )
    given = _fixed(kind, options.given(words), space)
    names = [field.name for of in searched for field in fields(of)]
    fixed = {name: values[name] for name in names if name not in space}
    facts = {
        "kind": kind.name,
        "data": values["data"],
        "search": {name: str(part) for name, part in space.items()},
        "settings": {name: str(value) for name, value in fixed.items()},
    }
    directory = Path(config.output)
    with _alone(directory):
        search = Search(directory, space, facts, values["seed"] if "seed" in fixed else 0)

        def train(settings: dict[str, Any], where: Path, watch: Watch) -> Outcome:
            where.mkdir(parents=True, exist_ok=True)
            # What a run has to say is not for the table of all runs.
            with (where / "log.txt").open("w") as log, redirect_stdout(log):
                every = {**fixed, **settings, "data": values["data"]}
                return train_trial(kind, every, where, config.device, watch)

        ended = search.run(train, config.trials, config.minutes, lambda t: _tell(search, t, config))
    return _say_how_it_ended(search, kind, values["data"], given, directory, ended=ended)


@contextmanager
def _alone(directory: Path) -> Generator[None, None, None]:
    """Keeps a second search out of the directory while the block runs."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("wb") as file:
        if not lock(file):
            raise TrainingError(
                f"another process searches in {directory}: wait for its end, or name another "
                "directory with --output"
            )
        yield


def _kind(words: Sequence[str]) -> Kind | None:
    if words[:1] and words[0] in ("-h", "--help"):
        return None
    if not words or words[0].startswith("-"):
        raise UserError(
            f"name what to train first: unrolled tune {'|'.join(KINDS)} DATA…; see unrolled tune "
            "--help"
        )
    return kind_called(words[0])


def _options(kind: Kind | None) -> Options:
    options = Options(
        "tune",
        f"{kind.name if kind else 'KIND'} DATA... --search FIELD=SPACE [options]",
        "Search for the settings of a model that do best on validation. KIND is one of "
        f"{', '.join(KINDS)}. A SPACE is low:high, log:low:high, or values with commas between "
        "them. Further options are those of unrolled train KIND: unrolled tune KIND --help.",
        "unrolled tune classify names.csv --search learning_rate=log:1e-4:1e-2 --search "
        "hidden_size=64,128,256 --search dropout=0:0.5",
    )
    options.add_argument("data", nargs="*", type=str, metavar="DATA", help="what to learn from")
    options.add_argument(
        "--search", action="append", type=str, metavar="FIELD=SPACE", help="a field to search"
    )
    options.add_argument("--config", action="config", help="a YAML file with any of these options")
    options.add_fields(TuneConfig)
    if kind is not None:
        for of in (kind.data, kind.config, TrainConfig):
            options.add_fields(of)
        options.set_defaults(dict(kind.defaults))
    return options


def _specifications(config: TuneConfig, values: Mapping[str, Any]) -> dict[str, str]:
    """Those of the file, and of the command line before them."""
    flags = search_space.read_flags(values["search"] or [])
    if config.space is None:
        return flags
    path = Path(config.space)
    try:
        content: Any = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(f"can't read {path}: {error.strerror or error}") from error
    except (yaml.MarkedYAMLError, UnicodeDecodeError) as error:
        mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
        where = "it is not UTF-8" if mark is None else f"line {mark.line + 1} can't be read"
        raise DataError(f"{path} is no YAML: {where}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} has no lines such as learning_rate: log:1e-4:1e-2")
    return {**{str(name): _as_text(value) for name, value in content.items()}, **flags}


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(_as_text, value))
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _fixed(kind: Kind, given: Mapping[str, Any], space: search_space.Space) -> dict[str, Any]:
    """What the user has set for all trials."""
    names = [field.name for of in (kind.data, kind.config, TrainConfig) for field in fields(of)]
    both = [name for name in names if name in given and name in space]
    if both:
        raise UserError(f"{both[0]} is searched and set: leave one of the two out")
    return {name: given[name] for name in names if name in given}


def _tell(search: Search, tried: Tried, config: TuneConfig) -> None:
    best = search.best()
    name = search.metric.name if search.metric else "figure"
    value = "" if tried.value is None else f" {name} {tried.value:.4g}"
    beside = f"; best {best.value:.4g}, trial {best.number}" if best and best.value else ""
    how = {"complete": "", "pruned": " given up at", "failed": " failed"}[tried.state]
    done = len(search.tried())
    line = f"trial {tried.number} ({done} of {config.trials}):{how}{value}{beside}"
    print(f"{line}: {_listed(tried)}", flush=True)
    if tried.problem:
        print(f"unrolled: note: trial {tried.number}: {tried.problem}", file=sys.stderr)


def _listed(tried: Tried) -> str:
    return ", ".join(f"{name} {_short(value)}" for name, value in tried.settings.items())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _say_how_it_ended(
    search: Search,
    kind: Kind,
    data: Sequence[str],
    given: Mapping[str, Any],
    directory: Path,
    *,
    ended: bool,
) -> int:
    best = search.best()
    if best is None and ended:
        failed = [tried.problem for tried in search.tried() if tried.problem]
        first = f"; the first failure: {failed[0]}" if failed else ""
        raise TrainingError(f"no trial came to its end{first}")
    if best is not None:
        settings = {**given, **search.settings(best)}
        path = directory / BEST
        with staged(path) as file:
            file.write(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode())
        print(f"\n{_ranking(search)}\n\nthe best settings are in {path}; train with them:")
        command = ["unrolled", "train", kind.name, *data, "--config", str(path)]
        print("  " + shlex.join([*command, "--output", f"runs/{kind.name}-best"]))
        print(f"the model of that trial is in {search.path(best.number)}")
    if ended:
        return 0
    print("stopped; the same command goes on with the search", file=sys.stderr)
    return _INTERRUPTED


def _ranking(search: Search) -> str:
    """The best trials, one a line."""
    metric = search.metric
    sign = -1 if metric and metric.better == "higher" else 1
    known = [t for t in search.tried() if t.state == "complete" and t.value is not None]
    ranked = sorted(known, key=lambda t: sign * (t.value or 0.0))[:_SHOWN]
    lines = [f"the best of {len(known)} complete trials, by {metric.name if metric else 'figure'}:"]
    lines += [f"  {t.value:<10.4g} trial {t.number}: {_listed(t)}" for t in ranked]
    width = terminal_width()
    return "\n".join(line if len(line) <= width else f"{line[: width - 1]}…" for line in lines)
