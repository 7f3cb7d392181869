"""Training with a recurrent matrix scaled past 1, with the gradient clipped and without.

The recurrent matrix of Elman's network starts orthogonal times a gain ρ: without saturation each
step back multiplies the gradient by ρ, so that over T steps it grows as ρ^T (Pascanu, Mikolov and
Bengio 2013, arXiv:1211.5063, whose clipping by the norm is used).  The task is to say the mean of a
sequence's inputs, times √T so that the answer has variance 1; a network learns it by stochastic
gradient descent, from the same start and on the same batches with and without clipping.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.experiments.finding import Finding, Progress, Table, Verdict, silent
from unrolled.experiments.networks import Network, scaled_rnn, seeded, updates

CLIP = 1.0
"""The norm that gradients are scaled down to."""

EXPLODES, GROWS = 10.0, 2.0
"""How many times as large a gradient is called exploded, and how many times grown."""


@dataclass(frozen=True)
class Budget:
    """How much is measured.

    Attributes:
        length: T.
        hidden: The units of a network.
        batch: Sequences side by side.
        steps: Updates.
        rate: The learning rate.
        gains: The values of ρ.
        starts: Random starts of each network.
    """

    length: int
    hidden: int
    batch: int
    steps: int
    rate: float
    gains: tuple[float, ...]
    starts: int


BUDGETS = {
    "small": Budget(50, 32, 32, 300, 0.01, (0.9, 1.0, 1.25, 1.5), 3),
    "full": Budget(100, 64, 64, 1000, 0.01, (0.9, 1.0, 1.1, 1.25, 1.5), 5),
}


@dataclass(frozen=True)
class Course:
    """One training.

    Attributes:
        nonlinearity: "tanh" or "relu".
        gain: ρ.
        clipped: Whether the gradient was.
        seed: Of its start and batches.
        losses: Before each update; up to the first that is not finite.
        norms: Of the gradients, before clipping.
    """

    nonlinearity: str
    gain: float
    clipped: bool
    seed: int
    losses: tuple[float, ...]
    norms: tuple[float, ...]

    @property
    def final(self) -> float:
        """The mean loss of the last tenth of the updates; infinity where it was not finite."""
        last = self.losses[-max(1, len(self.losses) // 10) :]
        mean = sum(last) / len(last)
        return mean if math.isfinite(mean) and math.isfinite(self.norms[-1]) else math.inf


@dataclass(frozen=True)
class Result:
    """All trainings, on the same budget."""

    budget: Budget
    courses: tuple[Course, ...]

    def of(self, nonlinearity: str, gain: float, *, clipped: bool) -> list[Course]:
        """Those of all starts."""
        asked = (nonlinearity, gain, clipped)
        return [c for c in self.courses if (c.nonlinearity, c.gain, c.clipped) == asked]


NONLINEARITIES = ("tanh", "relu")


def run(budget: Budget, seed: int, progress: Progress = silent) -> Result:
    """Trains all networks."""
    plan = [
        (nonlinearity, gain, clipped, seed + start)
        for nonlinearity in NONLINEARITIES
        for gain in budget.gains
        for clipped in (False, True)
        for start in range(budget.starts)
    ]
    courses: list[Course] = []
    for k, (nonlinearity, gain, clipped, own) in enumerate(plan):
        progress(f"{nonlinearity}, matrix × {gain:g}", k / len(plan))
        courses.append(_trained(budget, nonlinearity, gain, own, clipped=clipped))
    return Result(budget, tuple(courses))


def _trained(budget: Budget, nonlinearity: str, gain: float, seed: int, *, clipped: bool) -> Course:
    with seeded(seed):
        network = Network(scaled_rnn(nonlinearity, gain), 1, budget.hidden, 1)
        parameters = list(network.parameters())
        optimizer = torch.optim.SGD(parameters, budget.rate, momentum=0.9, fused=True)

        def loss() -> Tensor:
            x = torch.randn(budget.length, budget.batch, 1)
            target = x.mean(0) * math.sqrt(budget.length)
            return (network(x)[-1] - target).square().mean()

        clip = CLIP if clipped else math.inf
        made = list(updates(parameters, optimizer, loss, budget.steps, clip))
    return Course(
        nonlinearity, gain, clipped, seed,
        tuple(u.loss for u in made), tuple(u.norm for u in made),
    )  # fmt: skip


def table(result: Result) -> Table:
    """A row for each kind of training: medians over starts."""
    rows: list[tuple[str, ...]] = []
    for nonlinearity in NONLINEARITIES:
        for gain in result.budget.gains:
            for clipped in (False, True):
                of = result.of(nonlinearity, gain, clipped=clipped)
                broke = sum(not math.isfinite(c.final) for c in of)
                rows.append(
                    (
                        f"{nonlinearity}, matrix × {gain:g}",
                        "yes" if clipped else "no",
                        f"{statistics.median(c.norms[0] for c in of):.3g}",
                        f"{statistics.median(max(c.norms) for c in of):.3g}",
                        f"{_final(of):.3g}",
                        f"{broke} of {len(of)}",
                    )
                )
    columns = (
        "network", "clipped", "first gradient norm", "largest", "last loss", "stopped",
    )  # fmt: skip
    return Table(columns, tuple(rows))


def findings(result: Result) -> tuple[Finding, ...]:
    """What the notes say of exploding gradients and clipping, and what this measured."""
    return (
        *(_grows(result, nonlinearity) for nonlinearity in NONLINEARITIES),
        *(_only_past_one(result, nonlinearity) for nonlinearity in NONLINEARITIES),
        _regulated(result),
        *(_clipping(result, nonlinearity) for nonlinearity in NONLINEARITIES),
    )


def _grows(result: Result, nonlinearity: str) -> Finding:
    base, *past = sorted(g for g in result.budget.gains if g >= 1)
    first = {
        g: statistics.median(c.norms[0] for c in result.of(nonlinearity, g, clipped=False))
        for g in (base, *past)
    }
    ratios = {g: first[g] / first[base] for g in past}
    verdict: Verdict = "does not hold"
    if min(ratios.values()) > EXPLODES:
        verdict = "holds"
    elif max(ratios.values()) > GROWS:
        verdict = "holds in part"
    said = " and ".join(
        f"{ratio:.3g} times as large where it is scaled by {g:g} ({first[g]:.3g}; without any "
        f"saturation it would be {(g / base) ** result.budget.length:.2g} times)"
        for g, ratio in ratios.items()
    )
    return Finding(
        "Gradients explode when what a step back multiplies them by is above 1, here a recurrent "
        f"matrix scaled past 1 ({nonlinearity}).",
        verdict,
        f"Before training, beside the gradient norm with the matrix scaled by {base:g} "
        f"({first[base]:.3g}), it is {said}; medians of {_starts(result)}. It holds where each is "
        f"more than {EXPLODES:g} times as large, in part where one is more than {GROWS:g} times.",
    )


def _only_past_one(result: Result, nonlinearity: str) -> Finding:
    gain = min(result.budget.gains)
    growths = [_growth(c) for c in result.of(nonlinearity, gain, clipped=False)]
    many = sum(growth > EXPLODES for growth in growths)
    verdict: Verdict = "does not hold" if many == len(growths) else "holds in part"
    return Finding(
        "Gradients explode where what a step back multiplies them by is above 1, so not in a "
        f"training that starts with a matrix scaled below 1 ({nonlinearity}).",
        verdict if many else "holds",
        f"With a matrix that starts scaled by {gain:g} the gradient norm rose to "
        f"{statistics.median(growths):.3g} times that of the start during training without "
        f"clipping (median of {_starts(result)}, from {min(growths):.3g} to {max(growths):.3g}), "
        f"in {many} of {len(growths)} to more than {EXPLODES:g} times. What the matrix had become "
        "by then was not measured.",
    )


def _growth(course: Course) -> float:
    """The largest gradient norm beside the first; infinity where one was not finite."""
    finite = all(map(math.isfinite, course.norms))
    return max(course.norms) / course.norms[0] if finite else math.inf


def _starts(result: Result) -> str:
    return f"{result.budget.starts} start{'' if result.budget.starts == 1 else 's'}"


def _regulated(result: Result) -> Finding:
    broke, count = dict[str, int](), dict[str, int]()
    for nonlinearity in NONLINEARITIES:
        of = [c for g in result.budget.gains for c in result.of(nonlinearity, g, clipped=False)]
        broke[nonlinearity] = sum(not math.isfinite(c.final) for c in of)
        count[nonlinearity] = len(of)
    verdict: Verdict = "does not hold"
    if broke["relu"] > broke["tanh"]:
        verdict = "holds" if broke["tanh"] == 0 else "holds in part"
    return Finding(
        "Exploding gradients end in NaN; tanh keeps values between −1 and 1, where without it some "
        "explode.",
        verdict,
        f"Without clipping {broke['relu']} of {count['relu']} trainings with relu were stopped by "
        f"a loss or gradient that was no finite number, and {broke['tanh']} of {count['tanh']} "
        "with tanh.",
    )


def _clipping(result: Result, nonlinearity: str) -> Finding:
    gains = result.budget.gains
    every = [c for g in gains for c in result.of(nonlinearity, g, clipped=True)]
    broke = sum(not math.isfinite(c.final) for c in every)
    pairs = [
        [_final(result.of(nonlinearity, g, clipped=on)) for on in (False, True)] for g in gains
    ]
    better = sum(with_ < without for without, with_ in pairs)
    verdict: Verdict = "does not hold"
    if better == len(gains) and broke == 0:
        verdict = "holds"
    elif better:
        verdict = "holds in part"
    said = "; ".join(
        f"{g:g}: {without:.2g} without, {with_:.2g} with"
        for g, (without, with_) in zip(gains, pairs, strict=True)
    )
    return Finding(
        f"Clipping the gradient tames explosions ({nonlinearity}).",
        verdict,
        f"With the norm clipped at {CLIP:g}, {broke} of {len(every)} trainings were stopped by inf "
        f"or NaN, and the last loss is lower for {better} of {len(gains)} scales of the matrix "
        f"({said}; a network that always says 0 has 1).",
    )


def _final(courses: list[Course]) -> float:
    return statistics.median(c.final for c in courses)
