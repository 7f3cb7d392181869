"""``gates``: how far the gates of a model are open, and how long its states last.

A gate that is nearly always below 0.1 or above 0.9 is *saturated* to the left or to the right
(Karpathy, Johnson and Fei-Fei, "Visualizing and understanding recurrent networks", 2015).

A state that keeps the share f_t of itself in step t has after n steps kept their product, which is
exp(Σ ln f_t): it decays with the mean of ln f, and its **time constant** is τ = −1 / mean(ln f)
steps, after which 1/e is left.  The mean of f itself would say too much: of a gate that is half the
time 1 and half the time 0.01, which has mean 0.5, there is a hundredth left after two steps, not a
quarter.  A share below the rounding error of the numbers counts as that: what it leaves is lost in
the next sum.  A unit that is wiped now and then, such as a counter at the end of a line, lasts long
in between; of that tells the time constant of its typical step, −1 / median(ln f).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from unrolled.inspect.gate_equations import GateEquation, GateEquations, Kept
from unrolled.inspect.reading import LayerSteps, Progress, read_input, read_text
from unrolled.inspect.text import TextSample
from unrolled.interpret import evaluate
from unrolled.ir import Graph, Output, Var

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 50


@dataclass(frozen=True, eq=False)
class GateSeen:
    """A gate over all N steps that were seen; it is saturated below ``LOW`` and above ``HIGH``.

    Attributes:
        layer: The layer's name.
        name: The gate's name in the cell's source, or how it is computed.
        scales: What it multiplies, as text.
        keeps: The states whose old value it is a factor of.
        values: ``[N, units]``, in 0…1.
        counts: How many of the values are in each of 50 equal parts of 0…1, int64 ``[50]``.
        low: For each unit the share of the steps below 0.1, float64 ``[units]``.
        high: The same above 0.9.
    """

    LOW: ClassVar[float] = 0.1
    HIGH: ClassVar[float] = 0.9

    layer: str
    name: str
    scales: tuple[str, ...]
    keeps: tuple[str, ...]
    values: Tensor
    counts: Tensor
    low: Tensor
    high: Tensor


@dataclass(frozen=True, eq=False)
class StateKept:
    """How long a state lasts.

    Attributes:
        layer: The layer's name.
        state: The state's name.
        by: The names of the gates that say so; none where a parameter or a number does.
        time_constants: In steps for each unit, float64 ``[units]``; infinite where it never fades.
        typical: The same of the median step alone: between the steps that wipe it.
    """

    layer: str
    state: str
    by: tuple[str, ...]
    time_constants: Tensor
    typical: Tensor

    def quantile(self, share: float) -> float:
        """Of the time constants: one that is there, since nothing lies between infinite ones."""
        return _quantile(self.time_constants, share)


@dataclass(frozen=True, eq=False)
class Gates:
    """The gates of all layers of a model, as an input or a text drives them.

    Attributes:
        gates: Each gate of each layer.
        kept: Each state that a step passes on in a sum of products.
        without: The layers that have no gate, each with the states that it keeps by a factor all
            the same: a fixed one, or one that its equations don't hold within 0 and 1.
        sample: The text, where there was one.
    """

    gates: tuple[GateSeen, ...]
    kept: tuple[StateKept, ...]
    without: Mapping[str, tuple[str, ...]]
    sample: TextSample | None

    def table(self) -> list[dict[str, str | int | float]]:
        """A row a gate: its mean, and which share of all its values is saturated."""
        return [
            {
                "layer": g.layer,
                "gate": g.name,
                "keeps": ", ".join(g.keeps),
                "units": g.values.shape[1],
                "mean": float(g.values.double().mean()),
                "below 0.1": float(g.low.mean()),
                "above 0.9": float(g.high.mean()),
            }
            for g in self.gates
        ]

    def time_constants(self) -> list[dict[str, str | int | float]]:
        """A row a state that is kept: the quantiles of its units' time constants, in steps."""
        rows: list[dict[str, str | int | float]] = []
        for k in self.kept:
            rows.append(
                {
                    "layer": k.layer,
                    "state": k.state,
                    "by": ", ".join(k.by),
                    "units": len(k.time_constants),
                    "10 %": k.quantile(0.1),
                    "median": k.quantile(0.5),
                    "90 %": k.quantile(0.9),
                    "longest": float(k.time_constants.max()),
                    "median of typical steps": _quantile(k.typical, 0.5),
                }
            )
        return rows

    def __str__(self) -> str:
        """What was seen, in words."""
        lines = [f"{layer}: {gateless(states)}" for layer, states in self.without.items()]
        for row in self.table():
            keeps = f", keeps {row['keeps']}" if row["keeps"] else ""
            lines.append(
                f"{row['layer']}: gate {row['gate']}{keeps}: mean {row['mean']:.2f}, "
                f"{row['below 0.1']:.0%} below 0.1, {row['above 0.9']:.0%} above 0.9"
            )
        for row in self.time_constants():
            lines.append(
                f"{row['layer']}: state {row['state']}: time constants of {row['10 %']:.3g} to "
                f"{row['90 %']:.3g} steps (10 % to 90 % of its units), median {row['median']:.3g}"
            )
        return "\n".join(lines)

    def plot(self, picture: str = "histograms") -> Figure:
        """A picture of what was seen.

        Args:
            picture: ``histograms``, ``saturation``, ``time constants`` or ``heat map``.

        Raises:
            ValueError: where there is no such picture, or nothing to draw in it.
            UserError: where matplotlib is not installed.
        """
        from unrolled.inspect.pictures.gates import PICTURES

        if picture not in PICTURES:
            raise ValueError(f"expected one of {', '.join(PICTURES)}, got {picture!r}")
        return PICTURES[picture](self)


def gates(
    model: nn.Module,
    given: str | TextSample | Tensor,
    *,
    progress: Progress | None = None,
) -> Gates:
    """Looks at the gates of every recurrent layer while the model runs.

    What a gate is and which state it keeps is read from the cell's equations, of any cell
    (:mod:`unrolled.inspect.gate_equations`).

    Args:
        model: Any model; for a text a language model.
        given: A text, or the tensor that the model is called with.
        progress: Told how far a text is read.

    Raises:
        ModelError: where the model has no recurrent layers, or a parameter that is no number.
        DataError: where the text can't be read.
        ValueError: where the input holds a number that is not finite.
        TypeError: where a text is given to what is no language model.
    """
    sample = TextSample.of(model, given) if isinstance(given, str) else given
    if isinstance(sample, TextSample):
        layers = read_text(model, sample, _wanted, progress=progress)
    else:
        layers = read_input(model, sample, _wanted)
        sample = None
    found = [(layer, GateEquations.of(layer.graph)) for layer in layers]
    return Gates(
        tuple(_seen(layer, gate) for layer, equations in found for gate in equations.gates),
        tuple(_kept(layer, k, equations) for layer, equations in found for k in _shown(equations)),
        {
            layer.name: tuple(k.state.name for k in equations.kept)
            for layer, equations in found
            if not equations.gates
        },
        sample,
    )


def gateless(states: Sequence[str]) -> str:
    """What is said of a cell without a gate that keeps these states by a factor."""
    if not states:
        return "its cell has no gates"
    return (
        f"no value of its cell is known to be a gate, but it keeps {', '.join(states)} by a factor "
        "that is fixed or not known to lie between 0 and 1"
    )


def _shown(equations: GateEquations) -> list[Kept]:
    """The states whose kept share can be told: made of values, not of inputs or other states."""
    return [
        k for k in equations.kept if all(v.role == "value" or not v.per_step for v in k.factors)
    ]


def _wanted(graph: Graph) -> Iterator[str]:
    equations = GateEquations.of(graph)
    factors = (v for k in _shown(equations) for v in k.factors if v.per_step)
    for var in dict.fromkeys([*(g.var for g in equations.gates), *sorted(factors, key=str)]):
        if graph.giving([var.name]).outputs[0].var != var:
            raise ValueError(
                f"{graph.name}: the gate {var.name} has the name of an output or a state that is "
                "another value: rename it"
            )
        yield var.name


def _seen(layer: LayerSteps, gate: GateEquation) -> GateSeen:
    values = layer.values[gate.var.name].flatten(1)
    places = (values * BINS).to(torch.int64).clamp_(0, BINS - 1).flatten()
    return GateSeen(
        layer.name,
        gate.label,
        gate.scales,
        gate.keeps,
        values,
        torch.bincount(places, minlength=BINS),
        (values < GateSeen.LOW).double().mean(0),
        (values > GateSeen.HIGH).double().mean(0),
    )


def _kept(layer: LayerSteps, kept: Kept, equations: GateEquations) -> StateKept:
    fixed = _fixed(layer, [v for v in kept.factors if not v.per_step])
    size = int(kept.state.shape[0])
    share = torch.zeros(1, size, dtype=torch.float64)
    for scale, factors in kept.terms:
        product = torch.full((1, size), scale, dtype=torch.float64)
        for v in factors:
            product = product * (layer.values[v.name] if v.per_step else fixed[v]).double()
        share = share + product
    least = math.log(torch.finfo(layer.states[kept.state.name].dtype).eps)
    rates = share.abs().log().clamp(min=least)
    return StateKept(
        layer.name,
        kept.state.name,
        tuple(g.label for g in equations.gates if kept.state.name in g.keeps),
        _time_constants(rates.mean(0)),
        _time_constants(rates.median(0).values),
    )


def _time_constants(rate: Tensor) -> Tensor:
    return torch.where(rate < 0, -1 / rate, math.inf)


def _fixed(layer: LayerSteps, wanted: list[Var]) -> dict[Var, Tensor]:
    """Values that are the same at every step, such as a leak made of a parameter."""
    if not wanted:
        return {}
    outputs = tuple(Output(v.name, v) for v in wanted)
    graph = replace(layer.graph, states=(), next_states=(), outputs=outputs).prune()
    parameters = {k: p.detach().cpu() for k, p in layer.parameters.items()}
    some = next(iter(parameters.values()))
    x = some.new_zeros(tuple(layer.graph.inputs[0].shape))
    y, _, *extras = evaluate(graph, x, (), parameters)
    found = {wanted[0].name: y, **(extras[0] if extras else {})}
    return {v: found[v.name] for v in wanted}


def _quantile(values: Tensor, share: float) -> float:
    return float(values.sort().values[round(share * (len(values) - 1))])
