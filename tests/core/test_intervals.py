"""Between which numbers a step's values lie: every rule on random numbers, and what it is for."""

# A step function stands as a user writes it, without annotations.
# pyright: reportUnknownParameterType=false, reportMissingParameterType=false

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor, sigmoid, tanh
from torch.nn import functional as F

from oracle.agreement import problem
from oracle.forms import FORMS, Form
from oracle.random_cells import written
from unrolled import cell, lower, param
from unrolled.cell import Cell
from unrolled.cells import CELLS
from unrolled.ir import Graph
from unrolled.ops import TABLE
from unrolled.passes.intervals import contracts, intervals
from unrolled.passes.simplify import simplify

INF = math.inf


def one(x, h, *, p=param("H")):
    g = sigmoid(p)
    return {
        "gate": g, "other": 1 - g, "both": g + (1 - g), "signed": 2 * g - 1, "fades": -p.exp(),
        "decay": (-p.exp()).exp(), "square": p * p, "share": g / (g + p.exp()), "up": p.exp() + 1,
        "inverse": 1 / (1 + p.exp()), "pole": 1 / g, "bounded": p.clamp(-2, 0.5), "p": p,
        "chosen": torch.where(p > 0, g, -g), "angle": p.sin(), "soft": F.softplus(p),
        "size": p.abs(), "up_size": (p * p + 4).sqrt(), "no_share": p / (p + g), "sign": p.sign(),
        "softmax": p.softmax(-1), "no_softmax": p / p.sum(),
    }  # fmt: skip


EXPECTED = {
    "gate": (0, 1), "other": (0, 1), "both": (0, 2), "signed": (-1, 1), "fades": (-INF, 0),
    "decay": (0, 1), "square": (0, INF), "share": (0, 1), "up": (1, INF), "inverse": (0, 1),
    "pole": (-INF, INF), "bounded": (-2, 0.5), "p": (-INF, INF), "chosen": (-1, 1),
    "angle": (-1, 1), "soft": (0, INF), "size": (0, INF), "up_size": (2, INF),
    "no_share": (-INF, INF), "sign": (-1, 1), "softmax": (0, 1), "no_softmax": (-INF, INF),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_known_of_a_formula(name: str) -> None:
    @cell
    def step(x, h, *, p=param("H")):
        return h, (h,), {name: one(x, h, p=p)[name]}

    graph = simplify(step.graph(step.resolve_sizes(3, 4), torch.float64))
    (var,) = (o.var for o in graph.outputs if o.name == name)
    assert intervals(graph)[var] == EXPECTED[name]


def outside(graph: Graph, given: dict[str, Tensor]) -> list[str]:
    """The values of a step, on real tensors, that are not in their intervals."""
    found, values = intervals(graph), dict(given)
    for constant in graph.constants:
        data = torch.tensor(constant.data, dtype=torch.float64)
        values[constant.var.name] = data.reshape(constant.var.shape)
    wrong: list[str] = []
    for equation in graph.equations:
        operands = [values[a.name] if not isinstance(a, float | int) else a for a in equation.args]
        if equation.op == "where" and not isinstance(operands[1], Tensor):
            operands[1] = torch.tensor(operands[1], dtype=torch.float64)
        value = TABLE[equation.op].run(equation, *operands)
        values[equation.out.name] = value
        low, high = found[equation.out]
        known = value[~value.isnan()] if value.is_floating_point() else torch.empty(0)
        # Ends are rounded as the values are: a few units, of numbers up to 100 here.
        if known.numel() and not (low - 1e-13 <= known.min() and known.max() <= high + 1e-13):
            wrong.append(f"{equation}: {known} is not within {low} and {high}")
    return wrong


def at_random(of: Cell, sizes: dict[str, int], seed: int) -> list[str]:
    p = problem(of, sizes, 1, 1, seed)
    given = {of.input: p.x[0], **p.parameters}
    states = zip(of.states, p.states, strict=True)
    given.update((spec.name, 3 * s) for spec, s in states)
    return outside(of.graph(p.sizes, torch.float64), given)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("of", CELLS.values(), ids=CELLS)
def test_all_values_are_within_their_intervals(of: Cell, seed: int) -> None:
    assert not at_random(of, dict(of.resolve_sizes(3, 5, P=2, O=4)), seed)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.text)
def test_so_are_those_of_every_op(form: Form) -> None:
    for seed in range(3):
        drawn = written(random.Random(seed).choice, [form])
        assert not at_random(drawn.cell, dict(drawn.sizes), seed), drawn.source


def test_every_rule_is_for_an_op() -> None:
    from_table = intervals.__globals__["_RULES"].keys()
    assert from_table <= TABLE.keys()


def contracting(step: Any) -> bool:
    of = cell(step)
    form = lower(of.graph(of.resolve_sizes(3, 4), torch.float64)).linear
    assert form is not None
    return contracts(form)


def gate(x, h, *, W=param("H", "D")):
    return sigmoid(W @ x) * h + x.sum()


def signed(x, h, *, W=param("H", "D")):
    return tanh(W @ x) * h - h * 0


def diagonal(x, h, *, nu=param("H"), W=param("H", "D")):
    """The decay of a linear recurrent unit (Orvieto et al. 2023), without its rotation."""
    return torch.exp(-torch.exp(nu)) * h + W @ x


def mean_of_two(x, h, *, b=param("H")):
    return -(h - b) / (1.5 + b * b) + h


def free(x, h, *, a=param("H"), W=param("H", "D")):
    return a * h + W @ x


def summed(x, h, *, W=param("H", "D")):
    return sigmoid(W @ x) * h + h


@pytest.mark.parametrize(
    ("step", "answer"),
    [
        (gate, True), (signed, True), (diagonal, True), (mean_of_two, True), (free, False),
        (summed, False),
    ],
    ids=lambda v: getattr(v, "__name__", ""),
)  # fmt: skip
def test_which_cells_contract(step: Any, answer: bool) -> None:
    assert contracting(step) is answer


@pytest.mark.parametrize("name", ["mingru", "minlstm", "sru"])
def test_the_textbook_cells_contract(name: str) -> None:
    assert contracting(CELLS[name].function)
