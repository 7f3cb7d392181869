"""What equations say of gates and states, against derivatives and values, over drawn cells."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import unrolled
from gated_cells import OWN
from oracle.random_cells import DrawnCell, drawn_cells
from unrolled.cells import CELLS
from unrolled.inspect.gate_equations import GateEquations, Kept
from unrolled.interpret import evaluate
from unrolled.ir import Graph, Var, concrete
from unrolled.ops import TABLE
from unrolled.passes.linear import linear_form

D, H = 3, 4
EPS = torch.finfo(torch.float64).eps
SUMS = {"add", "sub", "neg", "mul", "div", "reshape"}


def equations(cell: unrolled.Cell) -> GateEquations:
    extra = {s: 3 for s in cell.size_names() if s not in ("D", "H")}
    return GateEquations.of(cell.evaluated.graph({"D": D, "H": H, **extra}))


# Gate: what it multiplies, and the states that it keeps, as the papers have them.
LSTM = {"i": (["i ⊙ g"], []), "f": (["f ⊙ c"], ["c"]), "o": (["o ⊙ tanh(c_1)"], [])}
NG = {
    "Gamma_u": (["Gamma_u ⊙ c_tilde"], []),
    "Gamma_f": (["Gamma_f ⊙ c"], ["c"]),
    "Gamma_o": (["Gamma_o ⊙ tanh(c_1)"], []),
}
UPDATE = {"Gamma_u": (["Gamma_u ⊙ c_tilde", "(1 − Gamma_u) ⊙ c"], ["c"])}
EXPECTED: dict[str, dict[str, tuple[list[str], list[str]]]] = {
    **dict.fromkeys(["lstm", "lstm_projected", "lstm_one_bias", "lstm_peephole_gers"], LSTM),
    **dict.fromkeys(["lstm_concat", "lstm_peephole"], NG),
    "lstm_coupled": {"f": (["f ⊙ c", "(1 − f) ⊙ g"], ["c"]), "o": (["o ⊙ tanh(c_1)"], [])},
    "lstm_layer_norm": {
        "σ(i)": (["σ(i) ⊙ tanh(g)"], []),
        "σ(f)": (["σ(f) ⊙ c"], ["c"]),
        "σ(o)": (["σ(o) ⊙ tanh((v38 ⊙ gain_c) + shift_c)"], []),
    },
    "janet": {
        "σ(s)": (["σ(s) ⊙ c"], ["c"]),
        "σ(s − 1)": (["(1 − σ(s − 1)) ⊙ c_tilde"], []),
    },
    "gru": {"r": (["r ⊙ (v13 + b_hn)"], []), "z": (["(1 − z) ⊙ n", "z ⊙ h"], ["h"])},
    "gru_cho": {"r": (["r ⊙ h"], []), "z": (["z ⊙ h", "(1 − z) ⊙ h_tilde"], ["h"])},
    "gru_full": {"Gamma_r": (["Gamma_r ⊙ c"], []), **UPDATE},
    "gru_simple": UPDATE,
    "gru_no_bias": {"r": (["r ⊙ v8"], []), "z": (["z ⊙ h", "(1 − z) ⊙ h_prime"], ["h"])},
    "mgu": {"f": (["f ⊙ h", "(1 − f) ⊙ h", "f ⊙ h_tilde"], ["h"])},
    "ugrnn": {"g": (["g ⊙ h", "(1 − g) ⊙ c"], ["h"])},
    "mingru": {"z": (["(1 − z) ⊙ h", "z ⊙ h_tilde"], ["h"])},
    "minlstm": {
        "f_prime": (["f_prime ⊙ h"], ["h"]),
        "i_prime": (["i_prime ⊙ h_tilde"], []),
    },
    "sru": {"f": (["f ⊙ c", "(1 − f) ⊙ x_tilde"], ["c"]), "r": (["r ⊙ c_1", "(1 − r) ⊙ v10"], [])},
}


GATELESS = {
    "rnn", "elman", "elman_rows", "elman_concat", "elman_output", "elman_concat_output",
    "leaky_rnn", "indrnn",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CELLS))
def test_the_gates_of_every_cell_are_those_of_its_paper(name: str) -> None:
    found = {g.label: (list(g.scales), list(g.keeps)) for g in equations(CELLS[name]).gates}
    assert found == ({} if name in GATELESS else EXPECTED[name])


@pytest.mark.parametrize("name", OWN)
def test_gates_of_cells_of_ones_own_are_found(name: str) -> None:
    cell, expected = OWN[name]
    found = equations(cell).gates
    assert {g.label: list(g.keeps) for g in found} == expected, [str(g.scales) for g in found]


def drawn_values(graph: Graph, seed: int) -> dict[Var, Tensor]:
    torch.manual_seed(seed)
    given = [*graph.inputs, *graph.states, *graph.parameters]
    found = {v: torch.randn(concrete(v.shape), dtype=torch.float64) for v in given}
    for c in graph.constants:
        data = torch.tensor(c.data, dtype=torch.float64)
        found[c.var] = data.reshape(concrete(c.var.shape))
    return found


def stepped(graph: Graph, values: dict[Var, Tensor], live: Var) -> dict[Var, Any]:
    """All values of a step, through which a derivative by one state goes by sums and products."""
    found: dict[Var, Any] = {**values, live: values[live].clone().requires_grad_()}
    for e in graph.equations:
        operands = [found[a] if isinstance(a, Var) else a for a in e.args]
        if e.op not in SUMS:
            operands = [a.detach() if isinstance(a, Tensor) else a for a in operands]
        if e.op == "where" and not isinstance(operands[1], Tensor):
            operands[1] = torch.tensor(operands[1], dtype=torch.float64)
        found[e.out] = TABLE[e.op].run(e, *operands)
    return found


def coefficient(kept: Kept, values: dict[Var, Any]) -> Tensor:
    total = torch.zeros(concrete(kept.state.shape), dtype=torch.float64)
    for scale, factors in kept.terms:
        product = torch.full_like(total, scale)
        for v in factors:
            product = product * values[v].detach().reshape(-1)
        total = total + product
    return total


def check(graph: Graph, seed: int) -> None:
    found = GateEquations.of(graph)
    values = drawn_values(graph, seed)
    kept = {k.state: k for k in found.kept}
    for state, after in zip(graph.states, graph.next_states, strict=True):
        step = stepped(graph, values, state)
        for gate in found.gates:
            assert step[gate.var].min() >= 0, gate
            assert step[gate.var].max() <= 1, gate
        if state not in kept:
            continue
        (slope,) = torch.autograd.grad(
            step[after].sum(), step[state], allow_unused=True, materialize_grads=True
        )
        terms = coefficient(kept[state], step)
        parts = sum(abs(s) for s, _ in kept[state].terms) + terms.abs()
        # Sums of products of up to as many factors as there are equations.
        bound = 8 * len(graph.equations) * EPS * (1 + parts)
        finite = slope.isfinite() & terms.isfinite()
        assert ((terms - slope).abs() <= bound)[finite].all(), (terms, slope)


@settings(max_examples=60, deadline=None)
@given(drawn_cells(), st.integers(0, 99))
def test_drawn_cells_keep_what_a_derivative_by_sums_and_products_says(
    drawn: DrawnCell, seed: int
) -> None:
    given_ = dict(drawn.sizes)
    sizes = drawn.cell.resolve_sizes(given_["D"], given_["H"], P=given_["P"])
    check(drawn.cell.evaluated.graph(sizes), seed)


@pytest.mark.parametrize("name", sorted(CELLS))
def test_the_cells_keep_what_a_derivative_by_sums_and_products_says(name: str) -> None:
    cell = CELLS[name]
    extra = {s: 3 for s in cell.size_names() if s not in ("D", "H")}
    graph = cell.evaluated.graph({"D": D, "H": H, **extra})
    for seed in range(3):
        check(graph, seed)


@unrolled.cell
def signs(
    x: Tensor, h: Tensor, *, W: Tensor = unrolled.param("H", "D"), u: Tensor = unrolled.param("H")
) -> Any:
    f = torch.sigmoid(W @ x)
    return -(f * h / 4 - h) - h * u + 0.5 * (1 - f) * h - torch.tanh(W @ x)


@pytest.mark.parametrize("cell", [CELLS["mingru"], CELLS["minlstm"], CELLS["sru"], signs])
def test_a_linear_cell_keeps_the_factor_of_its_linear_form(cell: unrolled.Cell) -> None:
    graph = cell.evaluated.graph({"D": D, "H": H})
    form = linear_form(graph)
    assert form is not None
    values = drawn_values(graph, 0)
    parameters = {v.name: values[v] for v in graph.parameters}
    first, _, *extras = evaluate(form.coefficients, values[graph.inputs[0]], (), parameters)
    expected = {form.coefficients.outputs[0].name: first, **(extras[0] if extras else {})}
    (kept,) = GateEquations.of(graph).kept
    step = stepped(graph, values, kept.state)
    terms = coefficient(kept, step)
    torch.testing.assert_close(
        terms,
        expected[f"a_{kept.state.name}"],
        rtol=0,
        atol=16 * EPS * float(1 + terms.abs().max()),
    )


@unrolled.cell
def squared(x: Tensor, h: Tensor, *, W: Tensor = unrolled.param("H", "D")) -> Any:
    return h * h + torch.tanh(W @ x)


@unrolled.cell
def divided(x: Tensor, h: Tensor, *, W: Tensor = unrolled.param("H", "D")) -> Any:
    return h / (1 + (W @ x) ** 2)


def test_what_no_sum_of_products_tells_is_left_out() -> None:
    for cell in (squared, divided):
        assert GateEquations.of(cell.evaluated.graph({"D": D, "H": H})).kept == ()


@unrolled.cell
def deep(x: Tensor, h: Tensor, *, W: Tensor = unrolled.param("H", "D")) -> Any:
    f = torch.sigmoid(W @ x)
    for _ in range(60):
        f = f * f
    v = h
    for _ in range(60):
        v = 0.5 * (torch.sin(v) + torch.cos(v)) * v
    return f * h + v


@unrolled.cell
def doubled(x: Tensor, h: Tensor, *, W: Tensor = unrolled.param("H", "D")) -> Any:
    f, v = torch.sigmoid(W @ x), h
    for _ in range(60):
        v = v + v
    return f * (v / 2**60)


@unrolled.cell
def many(x: Tensor, h: Tensor, *, W: Tensor = unrolled.param("H", "D")) -> Any:
    f, v = torch.sigmoid(W @ x), h
    for k in range(60):
        v = v * torch.sin(f + k) + v * torch.cos(f + k)
    return v


def test_time_does_not_double_with_each_equation() -> None:
    found = GateEquations.of(deep.evaluated.graph({"D": D, "H": H}))
    assert [(g.label, g.keeps) for g in found.gates] == [("f", ("h",))]
    (kept,) = GateEquations.of(doubled.evaluated.graph({"D": D, "H": H})).kept
    assert [(scale, len(factors)) for scale, factors in kept.terms] == [(1.0, 1)]
    assert GateEquations.of(many.evaluated.graph({"D": D, "H": H})).kept == ()
