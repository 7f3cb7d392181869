"""How much of the gradient is left after so many steps, in networks as they start.

A loss at the last step reads the last output alone, v·y_T with a random direction v; what is
measured is ‖∂loss/∂s_t‖ over all states s of the cell, at the distance T − t, as a share of that at
distance 0.  All networks have the same size, random inputs N(0, 1), and weights that start uniform
in ±1/√H, but for the IRNN's (Le, Jaitly and Hinton 2015, arXiv:1504.00941).  The problem is
Hochreiter's (1991) and Bengio, Simard and Frasconi's (1994).  Computed in float64, which holds
shares down to 1e-300.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.experiments.finding import Finding, Progress, Table, Verdict, silent
from unrolled.experiments.networks import irnn, lstm, rnn, seeded
from unrolled.inspect.watch import LayerRun, watch
from unrolled.ir import Graph
from unrolled.nn import Recurrent

LEFT = 0.01
"""The share of the gradient whose distance is the horizon."""

FURTHER = 1.5
"""How many times as far a gradient must reach to be called further."""

NETWORKS: dict[str, Callable[[], Cell]] = {
    "RNN tanh": lambda: rnn("tanh"),
    "RNN sigmoid": lambda: rnn("sigmoid"),
    "RNN relu": lambda: rnn("relu"),
    "IRNN": irnn,
    "LSTM forget bias 0": lambda: lstm(0.0),
    "LSTM forget bias 1": lambda: lstm(1.0),
    "GRU": lambda: CELLS["gru"],
}


@dataclass(frozen=True)
class Budget:
    """How much is measured.

    Attributes:
        steps: T.
        inputs: The length of an input.
        hidden: The units of a network.
        batch: Sequences side by side.
        networks: Random starts of each network.
    """

    steps: int
    inputs: int
    hidden: int
    batch: int
    networks: int


BUDGETS = {
    "small": Budget(steps=150, inputs=16, hidden=64, batch=16, networks=5),
    "full": Budget(steps=1000, inputs=16, hidden=256, batch=32, networks=10),
}


@dataclass(frozen=True)
class Flow:
    """One kind of network. Shares are medians, deciles and so on over sequences and starts.

    Attributes:
        network: Its name.
        median: The share that is left at distance 0, 1, ….
        low: The lowest decile.
        high: The highest decile.
        horizon: The first distance at which less than 1 % is left; None where there is none.
        derivative: The mean derivative of the activation along the sequences; None for cells with
            gates.
        kept: The mean of the gate that keeps the old state; None for cells without.
    """

    network: str
    median: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    horizon: int | None
    derivative: float | None
    kept: float | None

    @property
    def factor(self) -> float:
        """By how much a step multiplies it, the geometric mean up to the horizon or the end."""
        distance = self.horizon or len(self.median) - 1
        return self.median[distance] ** (1 / distance)


@dataclass(frozen=True)
class Result:
    """All networks, on the same budget."""

    budget: Budget
    flows: tuple[Flow, ...]

    def flow(self, network: str) -> Flow:
        """The one of that name."""
        return next(flow for flow in self.flows if flow.network == network)


def run(budget: Budget, seed: int, progress: Progress = silent) -> Result:
    """Measures all networks."""
    flows: list[Flow] = []
    for k, (name, cell) in enumerate(NETWORKS.items()):
        progress(name, k / len(NETWORKS))
        with seeded(seed):
            flows.append(_measured(name, cell, budget))
    return Result(budget, tuple(flows))


def table(result: Result) -> Table:
    """A row for each network."""
    columns = (
        "network", "1 % left after (steps)", "a step multiplies by",
        "mean derivative of g", "mean of the gate that keeps",
    )  # fmt: skip
    rows = [
        (
            flow.network,
            f"more than {len(flow.median) - 1}" if flow.horizon is None else str(flow.horizon),
            f"{flow.factor:.3f}",
            "" if flow.derivative is None else f"{flow.derivative:.3f}",
            "" if flow.kept is None else f"{flow.kept:.3f}",
        )
        for flow in result.flows
    ]
    return Table(columns, tuple(rows))


def findings(result: Result) -> tuple[Finding, ...]:
    """What the notes say of vanishing gradients, and what this measured."""
    return (
        _plain(result.flow("RNN tanh")),
        _tanh_or_sigmoid(result.flow("RNN tanh"), result.flow("RNN sigmoid")),
        *(
            _gated(result.flow(name), result.flow("RNN tanh"))
            for name in ("LSTM forget bias 0", "LSTM forget bias 1", "GRU")
        ),
        _conveyor(result.flow("LSTM forget bias 0"), result.flow("LSTM forget bias 1")),
        _start(result.flow("RNN relu"), result.flow("IRNN")),
    )


def _plain(plain: Flow) -> Finding:
    return Finding(
        "As the sequence gets longer, the gradient of its first steps shrinks to zero in a "
        "standard RNN, before training.",
        "does not hold" if plain.horizon is None else "holds",
        f"Of the gradient in the RNN with tanh {_left(plain)}; a step multiplies it by "
        f"{plain.factor:.2f}.",
    )


def _tanh_or_sigmoid(tanh: Flow, sigmoid: Flow) -> Finding:
    assert tanh.derivative is not None
    assert sigmoid.derivative is not None
    larger, further = tanh.derivative > sigmoid.derivative, _reach(tanh) > _reach(sigmoid)
    verdict: Verdict = ("does not hold", "holds in part", "holds")[larger + further]
    return Finding(
        "The derivative of tanh is larger than that of the sigmoid, which somewhat mitigates the "
        "vanishing gradient.",
        verdict,
        f"With the same weights at the start, the mean derivative is {tanh.derivative:.2f} for "
        f"tanh and {sigmoid.derivative:.2f} for the sigmoid; of the gradient {_left(tanh)} with "
        f"tanh, and {_left(sigmoid)} with the sigmoid.",
    )


def _gated(gated: Flow, plain: Flow) -> Finding:
    ratio = _reach(gated) / _reach(plain)
    verdict: Verdict = "does not hold"
    if gated.horizon is None:
        verdict = "holds"
    elif ratio >= FURTHER:
        verdict = "holds in part"
    return Finding(
        f"Gates solve the vanishing gradient: {gated.network}, before training.",
        verdict,
        f"Of the gradient {_left(gated)}, {ratio:.1f} times as far as in the RNN with tanh. At the "
        f"start the gate that keeps the old state is {gated.kept:.2f} on average; how far "
        "trained networks remember is what unrolled experiment memory measures.",
    )


def _conveyor(closed: Flow, opened: Flow) -> Finding:
    further = _reach(opened) / _reach(closed)
    nothing_lost = opened.horizon is None
    verdict: Verdict = (
        "holds" if nothing_lost else "holds in part" if further >= FURTHER else "does not hold"
    )
    return Finding(
        "The cell state is a conveyor belt: it has linear interactions only, so that gradients "
        "flow easily, and the forget gate decides what is thrown away (before training).",
        verdict,
        "The belt runs as fast as the forget gate lets it: with the gate at "
        f"{closed.kept:.2f} a step multiplies the gradient by {closed.factor:.2f}, with the gate "
        f"at {opened.kept:.2f} by {opened.factor:.2f}, and {_left(opened)} ({further:.1f} times as "
        "far).",
    )


def _start(plain: Flow, identity: Flow) -> Finding:
    ratio, lost = _reach(identity) / _reach(plain), identity.horizon is not None
    return Finding(
        "Before training, the gradient of a plain RNN vanishes however it starts: to keep it takes "
        "another architecture.",
        # One start that fails says nothing of the others.
        "not shown" if lost else "does not hold",
        "The IRNN is a plain RNN with relu whose recurrent matrix starts as the identity: of its "
        f"gradient {_left(identity)}, {'' if lost else 'at least '}{ratio:.0f} times as far as "
        f"with uniform weights ({_left(plain)}). That is the gradient before training; whether "
        "such a start learns to bridge more is what unrolled experiment memory measures.",
    )


def _reach(flow: Flow) -> int:
    return len(flow.median) - 1 if flow.horizon is None else flow.horizon


def _left(flow: Flow) -> str:
    if flow.horizon is not None:
        return f"less than 1 % is left after {flow.horizon} steps"
    return f"{100 * flow.median[-1]:.0f} % is left after all {len(flow.median) - 1} steps"


def _measured(name: str, cell: Callable[[], Cell], budget: Budget) -> Flow:
    shares: list[Tensor] = []
    derivatives: list[float] = []
    kept: list[float] = []
    for _ in range(budget.networks):
        layer = Recurrent(cell(), budget.inputs, budget.hidden, dtype=torch.float64)
        x = torch.randn(budget.steps, budget.batch, budget.inputs, dtype=torch.float64)
        direction = torch.randn(budget.batch, budget.hidden, dtype=torch.float64)
        with watch(layer, _gates, pushes=True) as seen:
            loss = (layer(x)[0][-1] * direction).sum()
            ((_, gradients),) = seen.gradients(loss)
        norms = torch.cat(list(gradients.values()), -1).norm(dim=-1).flip(0)
        shares.append(norms / norms[0])
        (run,) = seen.runs
        if "f" in run.values or "z" in run.values:
            kept.append(run.values["f" if "f" in run.values else "z"].mean().item())
        else:
            derivatives.append(_derivative(name, run))
    every = torch.cat(shares, 1)
    low, median, high = every.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64), dim=1)
    below = (median < LEFT).nonzero().flatten().tolist()
    return Flow(
        name,
        _floats(median),
        _floats(low),
        _floats(high),
        below[0] if below else None,
        _mean(derivatives),
        _mean(kept),
    )


def _gates(graph: Graph) -> Iterable[str]:
    return [e.out.name for e in graph.equations if e.out.name in ("f", "z")]


def _derivative(name: str, run: LayerRun) -> float:
    """The mean of g'(a), which each of these functions has in terms of its own value."""
    h = run.states["h"]
    if name == "RNN tanh":
        return (1 - h**2).mean().item()
    return (h * (1 - h) if name == "RNN sigmoid" else h > 0).double().mean().item()


def _mean(values: list[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _floats(values: Tensor) -> tuple[float, ...]:
    return tuple(values.tolist())
