"""Languages that need a counter: aⁿbⁿ and aⁿbⁿcⁿ, learned from short strings, tried on longer ones.

A network reads ``S aⁿ bⁿ E`` and says at each symbol what the next one is, as a language model; it
learns on all n from 1 to some longest.  From the first b on everything is decided, and a string
counts as right where the most probable symbol is the true one at all these places.  How far a
network generalises is the largest n up to which it is right on every n (Gers and Schmidhuber 2001;
Weiss, Goldberg and Yahav 2018, arXiv:1805.04908).

The counter is looked for among the units of each state: that whose values have the highest
correlation with the number of a's less that of b's along a string, ± alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.experiments.finding import Finding, Progress, Table, Verdict, silent
from unrolled.experiments.networks import Network, lstm, rnn, seeded, updates
from unrolled.inspect.watch import watch

START, A, END = 0, 1, -1
"""The start, the first letter, and the end, which is the last of a language's symbols."""

LANGUAGES = {"aⁿbⁿ": 2, "aⁿbⁿcⁿ": 3}
"""By their number of letters."""

COUNTS = 0.99
"""The correlation from which a unit is called a counter."""

CLIP = 1.0
_IGNORED = -100

CELLS_TRIED: dict[str, Callable[[], Cell]] = {
    "RNN": lambda: rnn("tanh"),
    "GRU": lambda: CELLS["gru"],
    "LSTM": lambda: lstm(1.0),
}


@dataclass(frozen=True)
class Budget:
    """What each cell is given.

    Attributes:
        hidden: The units of a network.
        steps: Updates, each on all strings that are learned from.
        rate: Adam's learning rate.
        trained: The largest n that is learned from.
        tested: The largest that is tried.
        starts: Random starts of each cell.
    """

    hidden: int
    steps: int
    rate: float
    trained: int
    tested: int
    starts: int


BUDGETS = {
    "small": Budget(hidden=10, steps=800, rate=0.01, trained=10, tested=100, starts=3),
    "full": Budget(hidden=10, steps=4000, rate=0.01, trained=10, tested=1000, starts=10),
}


@dataclass(frozen=True)
class Counter:
    """The unit that counts best, along a string twice as long as those learned from.

    Attributes:
        state: The state that it is a unit of.
        unit: Which.
        correlation: Of its values with the count.
        up: By how much an a changes it, on average.
        down: By how much a b does.
        values: Along the string, after each symbol.
    """

    state: str
    unit: int
    correlation: float
    up: float
    down: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Learned:
    """One network.

    Attributes:
        language: Which.
        cell: Its name.
        seed: Of its start.
        loss: On the strings learned from, at the end: nats a symbol.
        right: The largest n up to which every string is right; 0 where that of n = 1 is not.
        share: How many of the strings of all n that are tried are right.
        counter: The unit that counts best.
    """

    language: str
    cell: str
    seed: int
    loss: float
    right: int
    share: float
    counter: Counter


@dataclass(frozen=True)
class Result:
    """All networks, on the same budget."""

    budget: Budget
    learned: tuple[Learned, ...]

    def of(self, language: str, cell: str) -> list[Learned]:
        """Those of all starts, that which generalises least first."""
        asked = (language, cell)
        found = [one for one in self.learned if (one.language, one.cell) == asked]
        return sorted(found, key=lambda one: one.right)

    def middle(self, language: str, cell: str) -> Learned:
        """The median of :meth:`of`; of two, the worse."""
        found = self.of(language, cell)
        return found[(len(found) - 1) // 2]


def run(budget: Budget, seed: int, progress: Progress = silent) -> Result:
    """Trains and tries all networks."""
    plan = [
        (language, cell, seed + start)
        for language in LANGUAGES
        for cell in CELLS_TRIED
        for start in range(budget.starts)
    ]
    learned: list[Learned] = []
    for k, (language, cell, own) in enumerate(plan):
        progress(f"{language}, {cell}", k / len(plan))
        learned.append(_learned(language, cell, own, budget))
    return Result(budget, tuple(learned))


def strings(letters: int, longest: int, shortest: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """The strings of all n from ``shortest`` to ``longest``, side by side.

    Returns:
        The symbols that are read and those that follow, ``[T, B]``, and where what follows is
        decided. Behind its end a string goes on with ends that are read, and -100 that follow.
    """
    lengths = range(shortest, longest + 1)
    total = letters * longest + 2
    tokens = torch.full((total, len(lengths)), letters + 1)
    decided = torch.zeros(total - 1, len(lengths), dtype=torch.bool)
    following = torch.full((total - 1, len(lengths)), _IGNORED)
    for column, n in enumerate(lengths):
        body = torch.arange(1, letters + 1).repeat_interleave(n)
        tokens[: len(body) + 1, column] = torch.cat([torch.tensor([START]), body])
        following[: len(body) + 1, column] = tokens[1 : len(body) + 2, column]
        decided[n + 1 : len(body) + 1, column] = True
    return tokens[:-1], following, decided


def _learned(language: str, cell: str, seed: int, budget: Budget) -> Learned:
    letters = LANGUAGES[language]
    symbols = letters + 2
    read, following, _ = strings(letters, budget.trained)
    x = nn.functional.one_hot(read, symbols).float()
    with seeded(seed):
        network = Network(CELLS_TRIED[cell](), symbols, budget.hidden, symbols)
        parameters = list(network.parameters())
        optimizer = torch.optim.Adam(parameters, budget.rate, fused=True)

        def loss() -> Tensor:
            return nn.functional.cross_entropy(
                network(x).flatten(0, 1), following.flatten(), ignore_index=_IGNORED
            )

        last = 0.0
        for update in updates(parameters, optimizer, loss, budget.steps, CLIP):
            last = update.loss
    right = _right(network, letters, budget.tested)
    wrong = (~right).nonzero().flatten().tolist()
    return Learned(
        language, cell, seed, last,
        wrong[0] if wrong else budget.tested,
        right.double().mean().item(),
        counter(network, letters, 2 * budget.trained),
    )  # fmt: skip


@torch.no_grad()
def _right(network: nn.Module, letters: int, longest: int) -> Tensor:
    """For each n from 1 on whether its string is right, ``[longest]``."""
    found: list[Tensor] = []
    for shortest in range(1, longest + 1, 100):
        stop = min(longest, shortest + 99)
        read, following, decided = strings(letters, stop, shortest)
        said = network(nn.functional.one_hot(read, letters + 2).float()).argmax(-1)
        found.append(((said == following) | ~decided).all(0))
    return torch.cat(found)


@torch.no_grad()
def counter(network: nn.Module, letters: int, n: int) -> Counter:
    """The unit that counts best on the string of n, up to the last b."""
    read, _, _ = strings(letters, n, n)
    read = read[: 2 * n + 1]
    with watch(network) as seen:
        network(nn.functional.one_hot(read, letters + 2).float())
    (run,) = seen.runs
    step = (read[:, 0] == A).double() - (read[:, 0] == A + 1).double()
    count = step.cumsum(0)
    best: Counter | None = None
    for name, states in run.states.items():
        values = states[:, 0].double()
        for unit, r in enumerate(_correlations(values, count).tolist()):
            if best is None or abs(r) > abs(best.correlation):
                own = values[:, unit]
                up, down = (own[n] - own[0]) / n, (own[2 * n] - own[n]) / n
                best = Counter(name, unit, r, up.item(), down.item(), tuple(own.tolist()))
    assert best is not None
    return best


def _correlations(values: Tensor, count: Tensor) -> Tensor:
    """Pearson's, of each column with the count; 0 for a unit that never moves."""
    values, count = values - values.mean(0), count - count.mean()
    size = values.norm(dim=0) * count.norm()
    return torch.where(size > 0, count @ values / size.clamp_min(1e-300), 0.0)


def table(result: Result) -> Table:
    """A row for each language and cell: the start in the middle."""
    columns = (
        "language, cell", "right up to n", "right of all tried", "loss (nats a symbol)",
        "counter", "correlation", "an a adds", "a b adds",
    )  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for language in LANGUAGES:
        for cell in CELLS_TRIED:
            one, every = result.middle(language, cell), result.of(language, cell)
            counts = one.counter
            rows.append(
                (
                    f"{language}, {cell}",
                    f"{one.right} ({every[0].right} to {every[-1].right})",
                    f"{100 * one.share:.0f} %",
                    f"{one.loss:.3f}",
                    f"{counts.state}[{counts.unit}]",
                    f"{counts.correlation:+.3f}",
                    f"{counts.up:+.2f}",
                    f"{counts.down:+.2f}",
                )
            )
    return Table(columns, tuple(rows))


def findings(result: Result) -> tuple[Finding, ...]:
    """What the notes say of memory, gates and the cell state, and what this measured."""
    return (
        *(_counts(result, language) for language in LANGUAGES),
        *(_generalises(result, cell) for cell in CELLS_TRIED),
    )


def _counts(result: Result, language: str) -> Finding:
    counts = result.middle(language, "LSTM").counter
    strong, both = abs(counts.correlation) >= COUNTS, counts.up * counts.down < 0
    verdict: Verdict = ("does not hold", "holds in part", "holds")[strong + both]
    others = ", ".join(
        f"{abs(c.correlation):.3f} in the {cell} ({c.state})"
        for cell in CELLS_TRIED
        if cell != "LSTM" and (c := result.middle(language, cell).counter)
    )
    return Finding(
        "The cell state is the memory of the network: gates add to it and take from it "
        f"({language}).",
        verdict,
        f"Along a string of n = {2 * result.budget.trained} the LSTM's unit {counts.state}"
        f"[{counts.unit}] follows the count of a's less b's with the correlation "
        f"{abs(counts.correlation):.3f}: an a changes it by {counts.up:+.2f}, a b by "
        f"{counts.down:+.2f}. The best of the others: {others}.",
    )


def _generalises(result: Result, cell: str) -> Finding:
    trained = result.budget.trained
    rights = {language: result.middle(language, cell).right for language in LANGUAGES}
    verdict: Verdict = "does not hold"
    if min(rights.values()) == result.budget.tested:
        verdict = "holds"
    elif max(rights.values()) > trained:
        verdict = "holds in part"
    said = " and ".join(
        f"{'at least ' if right == result.budget.tested else ''}n = {right} in {language}"
        for language, right in rights.items()
    )
    return Finding(
        f"A state that is carried from step to step holds what was seen before, whatever the "
        f"length ({cell}).",
        verdict,
        f"Trained on n = 1 to {trained}, it is right on every string up to {said} (the start in "
        f"the middle of {result.budget.starts}, {result.budget.steps:,} updates).",
    )
