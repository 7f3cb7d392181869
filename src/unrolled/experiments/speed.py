"""Parameters, time of an update, and time to a given loss, of RNN, GRU and LSTM in one sitting.

Each learns to predict the next character of Python's own source, with truncated backpropagation
through time.  The cells take turns, round after round, each round with a start of its own; a ratio
is of two cells in the same round, so that what slows a machine down slows both.  Time is that of
the processor on one thread, which other programs disturb less than the clock.

The loss to reach is no choice of ours: it is the highest of the losses that the networks end with,
so that each gets there in the time it was given.
"""

from __future__ import annotations

import argparse
import inspect
import statistics
import textwrap
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.experiments.finding import Finding, Progress, Table, Verdict, silent
from unrolled.experiments.networks import Network, lstm, rnn, seeded, updates
from unrolled.nn import Recurrent

CLIP = 1.0
COMPARABLE = 0.05
"""Losses in nats a character that differ by no more are called comparable."""

_WARM = 3
SMOOTH = 20
"""Updates whose mean loss stands for one."""


@dataclass(frozen=True)
class Budget:
    """What each network is given.

    Attributes:
        hidden: The units of a network; where parameters are made equal, those of the LSTM.
        batch: Streams of text side by side.
        window: The steps of an update.
        steps: Updates of each network in a round.
        rate: Adam's learning rate.
        rounds: How often each is trained.
    """

    hidden: int
    batch: int
    window: int
    steps: int
    rate: float
    rounds: int


BUDGETS = {
    "small": Budget(hidden=64, batch=16, window=32, steps=240, rate=0.005, rounds=3),
    "full": Budget(hidden=256, batch=32, window=64, steps=400, rate=0.002, rounds=3),
}


@dataclass(frozen=True)
class Timed:
    """One network in one round.

    Attributes:
        network: Its name.
        round: Which.
        hidden: Its units.
        parameters: Those of its recurrent layer.
        seconds: The time of an update: the median over its updates.
        losses: Nats a character, each the mean of 20 updates.
    """

    network: str
    round: int
    hidden: int
    parameters: int
    seconds: float
    losses: tuple[float, ...]


@dataclass(frozen=True)
class Result:
    """All networks in all rounds, on the same budget."""

    budget: Budget
    timed: tuple[Timed, ...]

    @property
    def target(self) -> float:
        """The loss that each network reaches: the highest that one ends with."""
        return max(one.losses[-1] for one in self.timed)

    def of(self, network: str) -> list[Timed]:
        """Those of all rounds."""
        return [one for one in self.timed if one.network == network]

    def to_target(self, one: Timed) -> float:
        """Seconds until the loss was first at the target."""
        reached = next(k for k, loss in enumerate(one.losses) if loss <= self.target)
        return (reached + 1) * SMOOTH * one.seconds


NETWORKS = ("RNN", "GRU", "LSTM", "RNN with as many parameters", "GRU with as many parameters")
"""Equally many units, and as many units as give a layer the LSTM's number of parameters."""


def run(budget: Budget, seed: int, progress: Progress = silent) -> Result:
    """Trains all networks, in turn."""
    tokens, symbols = _text()
    timed: list[Timed] = []
    total = budget.rounds * len(NETWORKS)
    with one_thread():
        for turn in range(budget.rounds):
            for name in NETWORKS:
                progress(f"round {turn + 1}, {name}", len(timed) / total)
                timed.append(_timed(name, turn, seed + turn, tokens, symbols, budget))
    return Result(budget, tuple(timed))


@contextmanager
def one_thread() -> Generator[None]:
    """Torch computes on one thread while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _text() -> tuple[Tensor, int]:
    """The source of two modules of Python's as numbers of characters, and how many there are."""
    text = inspect.getsource(argparse) + inspect.getsource(textwrap)
    known = {c: k for k, c in enumerate(sorted(set(text)))}
    return torch.tensor([known[c] for c in text]), len(known)


def _cell(name: str) -> Cell:
    kind = name.partition(" ")[0]
    return {"RNN": rnn("tanh"), "GRU": CELLS["gru"], "LSTM": lstm(1.0)}[kind]


def _hidden(name: str, inputs: int, budget: Budget) -> int:
    """The largest number of units whose layer has no more parameters than the LSTM's."""
    if "with" not in name:
        return budget.hidden
    most = _size(_cell("LSTM"), inputs, budget.hidden)
    units = budget.hidden
    while _size(_cell(name), inputs, units + 1) <= most:
        units += 1
    return units


def _size(cell: Cell, inputs: int, hidden: int) -> int:
    shapes = cell.parameter_shapes(cell.resolve_sizes(inputs, hidden))
    return sum(torch.Size(map(int, shape)).numel() for shape in shapes.values())


def _timed(name: str, turn: int, seed: int, tokens: Tensor, symbols: int, budget: Budget) -> Timed:
    inputs = min(symbols, 32)
    with seeded(seed):
        embedding = nn.Embedding(symbols, inputs)
        hidden = _hidden(name, inputs, budget)
        network = Network(_cell(name), inputs, hidden, symbols)
        parameters = [*embedding.parameters(), *network.parameters()]
        optimizer = torch.optim.Adam(parameters, budget.rate, fused=True)

        def loss() -> Tensor:
            starts = torch.randint(0, len(tokens) - budget.window - 1, (budget.batch,))
            at = starts + torch.arange(budget.window + 1).unsqueeze(1)
            read = tokens[at]
            logits = network(embedding(read[:-1]))
            return nn.functional.cross_entropy(logits.flatten(0, 1), read[1:].flatten())

        losses, seconds = list[float](), list[float]()
        before = time.process_time()
        for update in updates(parameters, optimizer, loss, budget.steps + _WARM, CLIP):
            now = time.process_time()
            # The first ones compile, or load what was compiled.
            if update.step > _WARM:
                losses.append(update.loss)
                seconds.append(now - before)
            before = now
    means = [statistics.fmean(losses[k : k + SMOOTH]) for k in range(0, len(losses), SMOOTH)]
    return Timed(
        name, turn, hidden, _parameters(network.recurrent),
        statistics.median(seconds), tuple(means),
    )  # fmt: skip


def _parameters(layer: Recurrent) -> int:
    return sum(p.numel() for p in layer.parameters())


@dataclass(frozen=True)
class Ratio:
    """A number of one network over that of the LSTM in the same round: median, lowest, highest."""

    middle: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.middle:.2f} ({self.low:.2f} to {self.high:.2f})"


def ratios(result: Result, network: str) -> tuple[Ratio, Ratio]:
    """The time of an update, and the time to the target."""
    pairs = list(zip(result.of(network), result.of("LSTM"), strict=True))
    return (
        _ratio([own.seconds / other.seconds for own, other in pairs]),
        _ratio([result.to_target(own) / result.to_target(other) for own, other in pairs]),
    )


def _ratio(values: Sequence[float]) -> Ratio:
    return Ratio(statistics.median(values), min(values), max(values))


def table(result: Result) -> Table:
    """A row for each network: medians over rounds."""
    columns = (
        "network", "units", "parameters", "an update (ms)", "beside the LSTM",
        f"time to {result.target:.3f} nats (s)", "beside the LSTM", "last loss (nats)",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for name in NETWORKS:
        of = result.of(name)
        update, target = ratios(result, name)
        rows.append(
            (
                name,
                str(of[0].hidden),
                f"{of[0].parameters:,}",
                f"{1000 * statistics.median(one.seconds for one in of):.2f}",
                str(update),
                f"{statistics.median(result.to_target(one) for one in of):.2f}",
                str(target),
                f"{_last(result, name):.3f}",
            )
        )
    return Table(columns, tuple(rows))


def findings(result: Result) -> tuple[Finding, ...]:
    """What the notes say of cost, and what this measured."""
    return (
        _fewer(result),
        _faster(result, "GRU", "GRUs, with fewer operations, are faster to train than LSTMs."),
        _faster(
            result,
            "GRU with as many parameters",
            "GRUs are faster to train than LSTMs, also with as many parameters.",
        ),
        _faster(result, "RNN", "RNNs, with fewer operations, are faster to train than LSTMs."),
        _comparable(result),
        _powerful(result),
    )


def _fewer(result: Result) -> Finding:
    counts = {name: result.of(name)[0].parameters for name in ("RNN", "GRU", "LSTM")}
    return Finding(
        "GRUs have fewer parameters than LSTMs.",
        "holds" if counts["GRU"] < counts["LSTM"] else "does not hold",
        f"With {result.budget.hidden} units a layer has {counts['RNN']:,} (RNN), "
        f"{counts['GRU']:,} (GRU) and {counts['LSTM']:,} (LSTM): "
        f"{counts['GRU'] / counts['LSTM']:.2f} of the LSTM's for the GRU.",
    )


def _faster(result: Result, name: str, claim: str) -> Finding:
    """Whether an update and the way to the target take less time than the LSTM's in all rounds."""
    update, target = ratios(result, name)
    faster = (update.high < 1) + (target.high < 1)
    verdict: Verdict = ("not shown", "holds in part", "holds")[faster]
    if update.low >= 1 and target.low >= 1:
        verdict = "does not hold"
    return Finding(
        claim,
        verdict,
        f"Beside the LSTM's in the same round, an update of the {name} takes {update} of the time, "
        f"and the way to {result.target:.2f} nats {target} (median, lowest and highest of "
        f"{result.budget.rounds} rounds; the same learning rate for all).",
    )


def _comparable(result: Result) -> Finding:
    gru, lstm_, plain = (_last(result, name) for name in ("GRU", "LSTM", "RNN"))
    verdict: Verdict = "holds"
    if abs(gru - lstm_) > COMPARABLE:
        verdict = "does not hold"
    return Finding(
        "GRUs often perform comparably to LSTMs (here: after as many updates at the same rate).",
        verdict,
        f"After {result.budget.steps:,} updates the losses are {gru:.3f} (GRU), {lstm_:.3f} (LSTM) "
        f"and {plain:.3f} (RNN) nats a character, medians; a difference above {COMPARABLE:g} is "
        "taken for one.",
    )


def _powerful(result: Result) -> Finding:
    gru, lstm_ = _last(result, "GRU"), _last(result, "LSTM")
    update, _ = ratios(result, "GRU")
    agreed = (gru - lstm_ > COMPARABLE) + (update.middle < 1)
    verdict: Verdict = ("does not hold", "holds in part", "holds")[agreed]
    return Finding(
        "LSTMs are more powerful than GRUs, but more expensive to train.",
        verdict,
        f"With equally many units the LSTM's loss is {lstm_ - gru:+.3f} nats from the GRU's after "
        f"as many updates, each of which takes {1 / update.middle:.2f} times as long.",
    )


def _last(result: Result, name: str) -> float:
    return statistics.median(one.losses[-1] for one in result.of(name))
