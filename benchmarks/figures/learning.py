"""Training whole models by one loop: characters a second with our layers and with ``torch.nn``'s.

The two train in turns of a few seconds, each going on where its last turn ended.  They start from
the same parameters and see the same windows and the same dropout, so their losses at equal steps
differ by rounding alone, which training amplifies from step to step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.figures.setting import Setting
from benchmarks.figures.sittings import Learner, Task, task
from benchmarks.machine import ROOT
from benchmarks.markdown import table
from benchmarks.timing import Quartiles, quartiles, settle
from benchmarks.verdict import Verdict

CONFIGS = {"demo": "examples/demo.yaml", "tinyshakespeare": "examples/tinyshakespeare.yaml"}
SHARED = (ROOT / "shared", ROOT.parent / "shared")
TEXTS = {"tinyshakespeare": "data/tinyshakespeare.txt"}
"""What a configuration leaves to the command line, looked for in ``shared/``."""

TURNS, TURN_S = 5, 4.0
QUICK_TURNS, QUICK_TURN_S = 2, 1.0


@dataclass(frozen=True)
class Losses:
    """Mean training losses, nats per character, of the steps up to ``step``."""

    step: int
    ours: float
    theirs: float


@dataclass(frozen=True)
class Row:
    """Characters a second by turn, and the losses at the first and the last equal step."""

    config: str
    ours: Quartiles
    theirs: Quartiles
    ratio: Quartiles
    first: Losses
    last: Losses


def corpus(name: str) -> list[str] | None:
    """What is to be named beside the configuration, nothing where it names its own.

    None where the text isn't there.
    """
    if name not in TEXTS:
        return []
    found = (directory / TEXTS[name] for directory in SHARED)
    return next(([str(path)] for path in found if path.exists()), None)


def measure(setting: Setting) -> Iterator[Row]:
    """A row for each configuration whose text is there."""
    for name, config in CONFIGS.items():
        words = corpus(name)
        if words is None:
            print(f"learning: {name} is left out, there is no shared/{TEXTS[name]}")
            continue
        with TemporaryDirectory() as directory:
            of = task(ROOT / config, words, Path(directory))
            yield _row(name, of, Path(directory), setting.quick)


def _row(name: str, of: Task, directory: Path, quick: bool) -> Row:
    ours = Learner(of, "ours", directory / "ours")
    theirs = Learner(of, "torch.nn", directory / "torch.nn")
    for learner in (ours, theirs):
        while not learner.losses():
            learner.sit(0.1)  # compiles
    rates: list[tuple[float, float]] = []
    for _ in range(QUICK_TURNS if quick else TURNS):
        first, second = (_turn(learner, quick) for learner in (ours, theirs))
        rates.append((first, second))
    by_step = ours.losses(), theirs.losses()
    equal = sorted(by_step[0].keys() & by_step[1].keys())
    losses = [Losses(step, by_step[0][step], by_step[1][step]) for step in equal]
    return Row(
        name,
        quartiles([first for first, _ in rates]),
        quartiles([second for _, second in rates]),
        quartiles([first / second for first, second in rates]),
        first=losses[0],
        last=losses[-1],
    )


def _turn(learner: Learner, quick: bool) -> float:
    settle()
    return learner.sit(QUICK_TURN_S if quick else TURN_S)


def line(row: Row) -> str:
    """A row as it is printed when it comes."""
    return (
        f"{row.config:16} {row.ours.median:,.0f} characters/s, torch.nn {row.theirs.median:,.0f}: "
        f"{row.ratio.median:.2f}; losses {_pair(row.first)}; {_pair(row.last)}"
    )


def _pair(losses: Losses) -> str:
    return f"step {losses.step}: {losses.ours:.5f} and {losses.theirs:.5f}"


def verdicts(rows: Sequence[Row]) -> list[Verdict]:
    """What was to be reported; there is no figure to reach."""
    return [
        Verdict(
            f"training {row.config}, beside `torch.nn`",
            "to report",
            f"{row.ratio.median:.2f} times as many characters/s",
            None,
            f"{row.ours.median:,.0f} and {row.theirs.median:,.0f} characters/s",
        )
        for row in rows
    ]


def section(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    header = ("configuration", "characters/s", "`torch.nn`", "times faster")
    header += ("loss, ours and `torch.nn`'s", "the same, later")
    return table(
        header,
        (
            (
                f"`{CONFIGS[row.config]}`",
                f"{row.ours.median:,.0f}",
                f"{row.theirs.median:,.0f}",
                f"**{row.ratio.median:.2f}** ({row.ratio.low:.2f}–{row.ratio.high:.2f})",
                _pair(row.first),
                _pair(row.last),
            )
            for row in rows
        ),
    )
