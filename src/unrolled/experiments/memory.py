"""The longest lag that a cell learns to bridge within a fixed number of updates.

Two problems of Hochreiter and Schmidhuber (1997), in the form of Arjovsky, Shah and Bengio (2016,
arXiv:1511.06464):

- adding: T numbers uniform in 0 … 1, two of which are marked, one in each half; the answer after
  the last is their sum.  Who always says 1 has the mean squared error 1/6.
- copying: some symbols, T blanks, a mark, and then the symbols again, one after the other.

Each cell starts with the shortest lag and, as long as it solves a lag within the budget, goes on to
the next one, with new weights; the lag that is counted is the last one before the first that it
does not solve.  Cells are compared by the worst of their starts.  All cells have the same number of
hidden units, Adam, the same rate and clipping.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.experiments.finding import Finding, Progress, Table, Verdict, silent
from unrolled.experiments.networks import Network, irnn, lstm, rnn, seeded, updates

SOLVED = {"adding": 0.1 / 6, "copying": 0.05}
"""The error below which a problem is solved: a tenth of that of always saying 1, and the share of
wrong symbols."""

CLIP = 1.0
_HELD_OUT = 256
_CHECK_EVERY = 25

CELLS_TRIED: dict[str, Callable[[], Cell]] = {
    "RNN": lambda: rnn("tanh"),
    "IRNN": irnn,
    "GRU": lambda: CELLS["gru"],
    "LSTM": lambda: lstm(1.0),
}


@dataclass(frozen=True)
class Budget:
    """What each cell is given.

    Attributes:
        hidden: The units of a network.
        batch: Sequences of an update.
        steps: Updates for each lag.
        rate: Adam's learning rate.
        adding: The lags of the adding problem, in steps.
        copying: Those of the copying problem.
        symbols: How many symbols are copied.
        alphabet: Of how many.
        starts: Random starts of each cell.
    """

    hidden: int
    batch: int
    steps: int
    rate: float
    adding: tuple[int, ...]
    copying: tuple[int, ...]
    symbols: int
    alphabet: int
    starts: int


BUDGETS = {
    "small": Budget(32, 32, 400, 0.01, (5, 10, 20, 40, 80), (2, 5, 10, 20, 40), 2, 4, 2),
    "full": Budget(64, 32, 1000, 0.005, (10, 20, 40, 80, 160), (5, 10, 20, 40, 80), 5, 8, 3),
}


@dataclass(frozen=True)
class Trial:
    """One cell on one lag.

    Attributes:
        problem: "adding" or "copying".
        cell: Its name.
        seed: Of its start and its data.
        lag: In steps.
        error: On data that was held out, at the end.
        steps: The updates until it was solved, or all.
        solved: Whether it was.
    """

    problem: str
    cell: str
    seed: int
    lag: int
    error: float
    steps: int
    solved: bool


@dataclass(frozen=True)
class Result:
    """All trials, on the same budget."""

    budget: Budget
    trials: tuple[Trial, ...]

    def lags(self, problem: str) -> tuple[int, ...]:
        """Those that a problem was tried with."""
        return self.budget.adding if problem == "adding" else self.budget.copying

    def longest(self, problem: str, cell: str) -> list[int]:
        """The longest lag that each start solved, 0 where none, lowest first."""
        seeds = sorted({t.seed for t in self.trials})
        own = [t for t in self.trials if (t.problem, t.cell) == (problem, cell) and t.solved]
        return sorted(max((t.lag for t in own if t.seed == s), default=0) for s in seeds)


def run(budget: Budget, seed: int, progress: Progress = silent) -> Result:
    """Tries all cells."""
    climbs = [
        (problem, cell, seed + start)
        for problem in SOLVED
        for cell in CELLS_TRIED
        for start in range(budget.starts)
    ]
    trials: list[Trial] = []
    for k, (problem, cell, own) in enumerate(climbs):
        lags = budget.adding if problem == "adding" else budget.copying
        for n, lag in enumerate(lags):
            progress(f"{problem}, {cell}, lag {lag}", (k + n / len(lags)) / len(climbs))
            trials.append(_tried(problem, cell, lag, own, budget))
            if not trials[-1].solved:
                break
    return Result(budget, tuple(trials))


def adding(lag: int, batch: int) -> tuple[Tensor, Tensor]:
    """Numbers and marks ``[T, B, 2]``, and the sum of those that are marked ``[B]``."""
    numbers = torch.rand(lag, batch)
    first = torch.randint(0, lag // 2, (batch,))
    second = torch.randint(lag // 2, lag, (batch,))
    marks = torch.zeros(lag, batch)
    rows = torch.arange(batch)
    marks[first, rows] = marks[second, rows] = 1.0
    return torch.stack([numbers, marks], -1), (numbers * marks).sum(0)


def copying(lag: int, batch: int, symbols: int, alphabet: int) -> tuple[Tensor, Tensor]:
    """One-hot inputs ``[T + 2 symbols, B, alphabet + 2]``, and the symbols ``[symbols, B]``.

    Behind the alphabet stand the blank and the mark, which is the last blank of the lag.
    """
    said = torch.randint(0, alphabet, (symbols, batch))
    tokens = torch.full((2 * symbols + lag, batch), alphabet)
    tokens[:symbols] = said
    tokens[symbols + lag - 1] = alphabet + 1
    return nn.functional.one_hot(tokens, alphabet + 2).float(), said


def _tried(problem: str, cell: str, lag: int, seed: int, budget: Budget) -> Trial:
    with seeded(seed):
        if problem == "adding":
            data = partial(adding, lag)
            network = Network(CELLS_TRIED[cell](), 2, budget.hidden, 1)
        else:
            data = partial(copying, lag, symbols=budget.symbols, alphabet=budget.alphabet)
            inputs = budget.alphabet + 2
            network = Network(CELLS_TRIED[cell](), inputs, budget.hidden, budget.alphabet)
        held_out = data(_HELD_OUT)
        parameters = list(network.parameters())
        optimizer = torch.optim.Adam(parameters, budget.rate, fused=True)

        def loss() -> Tensor:
            x, target = data(budget.batch)
            if problem == "adding":
                return (network(x)[-1, :, 0] - target).square().mean()
            logits = network(x)[-budget.symbols :]
            return nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())

        error, step = float("inf"), 0
        for update in updates(parameters, optimizer, loss, budget.steps, CLIP):
            step = update.step
            if step % _CHECK_EVERY == 0 or step == budget.steps:
                error = _error(problem, network, *held_out)
                if error < SOLVED[problem]:
                    break
    return Trial(problem, cell, seed, lag, error, step, error < SOLVED[problem])


@torch.no_grad()
def _error(problem: str, network: Network, x: Tensor, target: Tensor) -> float:
    y = network(x)
    if problem == "adding":
        return (y[-1, :, 0] - target).square().mean().item()
    return (y[-len(target) :].argmax(-1) != target).double().mean().item()


def table(result: Result) -> Table:
    """A row for each cell, with what each of its starts bridges."""
    columns = ("cell", *(f"{p}: longest lag of each start (steps)" for p in SOLVED))
    rows = [
        (cell, *(", ".join(_lags(result, p, cell, "< ", "≥ ")) for p in SOLVED))
        for cell in CELLS_TRIED
    ]
    return Table(columns, tuple(rows))


def findings(result: Result) -> tuple[Finding, ...]:
    """What the notes say of memory, and what this measured.

    Cells are compared by the worst of their starts: the longest lag that every start bridges.
    """
    return (
        *(_longer(result, cell) for cell in ("LSTM", "GRU")),
        _alike(result),
        _gradient_alone(result),
    )


def _longer(result: Result, gated: str) -> Finding:
    longer = sum(_worst(result, p, gated) > _worst(result, p, "RNN") for p in SOLVED)
    verdict: Verdict = ("does not hold", "holds in part", "holds")[longer]
    return Finding(
        f"RNNs suffer from short-term memory, to which the {gated} is a solution.",
        verdict,
        f"{_beside(result, gated, 'RNN')} {_worst_of(result, gated)} bridges more than the RNN's "
        f"in {longer} of {len(SOLVED)} problems ({_given(result.budget)}).",
    )


def _alike(result: Result) -> Finding:
    pairs = [(_worst(result, p, "GRU"), _worst(result, p, "LSTM")) for p in SOLVED]
    alike = sum(max(pair) <= 2 * min(pair) for pair in pairs)
    verdict: Verdict = ("does not hold", "holds in part", "holds")[alike]
    return Finding(
        "GRUs often perform comparably to LSTMs (here: within a factor of two).",
        verdict,
        f"{_beside(result, 'GRU', 'LSTM')} {_worst_of(result, 'GRU')} and the LSTM's are within a "
        f"factor of two in {alike} of {len(SOLVED)} problems.",
    )


def _gradient_alone(result: Result) -> Finding:
    longer = sum(_worst(result, p, "IRNN") > _worst(result, p, "RNN") for p in SOLVED)
    budget = result.budget
    why = (
        f"Adam's rate was {budget.rate:g} for all cells and tuned for none, so that what is not "
        f"bridged, with {_starts(budget.starts)}, may be the rate's doing."
    )
    if longer == len(SOLVED):
        why = "The IRNN also has relu for tanh, so that more than the gradient differs."
    return Finding(
        "What keeps an RNN from learning long-term dependencies is the gradient that vanishes: the "
        "IRNN, whose gradient hardly does before training (unrolled experiment vanishing), bridges "
        "more.",
        "holds in part" if longer == len(SOLVED) else "not shown",
        f"{_beside(result, 'IRNN', 'RNN')} {_worst_of(result, 'IRNN')} bridges more than the "
        f"RNN's in {longer} of {len(SOLVED)} problems. {why}",
    )


def _worst(result: Result, problem: str, cell: str) -> int:
    return result.longest(problem, cell)[0]


def _beside(result: Result, one: str, other: str) -> str:
    """What every start of two cells bridges, lowest first."""
    parts = [
        f"in {p} the {one} bridges {_said(result, p, one)} steps, the {other} "
        f"{_said(result, p, other)}"
        for p in SOLVED
    ]
    said = "; ".join(parts)
    return f"{said[0].upper()}{said[1:]}."


def _said(result: Result, problem: str, cell: str) -> str:
    return " and ".join(_lags(result, problem, cell, "less than ", "at least "))


def _lags(result: Result, problem: str, cell: str, below: str, above: str) -> list[str]:
    """The longest lag of each start, lowest first."""
    lags = result.lags(problem)
    return [
        f"{below}{lags[0]}" if lag == 0 else f"{above}{lag}" if lag == lags[-1] else str(lag)
        for lag in result.longest(problem, cell)
    ]


def _worst_of(result: Result, cell: str) -> str:
    starts = result.budget.starts
    which = {1: "only", 2: "worse"}.get(starts, "worst")
    return f"The {which} of the {cell}'s {_starts(starts)}"


def _starts(count: int) -> str:
    return f"{count} start{'' if count == 1 else 's'}"


def _given(budget: Budget) -> str:
    return (
        f"{budget.steps:,} updates of {budget.batch} sequences for each lag, {budget.hidden} "
        f"units, Adam at {budget.rate:g} for all"
    )
