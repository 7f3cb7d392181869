"""The forms of the textbook cells against one another: exact identities, one step, float64.

A recurrence is a chain of steps, so cells whose steps agree from every state agree over time.
"""

import pytest
import torch
from torch import Tensor, sigmoid, tanh

from cell_samples import (
    BATCH,
    D,
    H,
    Params,
    assert_same_step,
    inputs,
    parameters,
    rounding,
    states,
    step,
)
from unrolled import naive
from unrolled.cells import (
    elman,
    elman_concat,
    elman_concat_output,
    elman_output,
    elman_rows,
    gru,
    gru_cho,
    gru_full,
    gru_no_bias,
    gru_simple,
    indrnn,
    janet,
    leaky_rnn,
    lstm,
    lstm_concat,
    lstm_coupled,
    lstm_layer_norm,
    lstm_one_bias,
    lstm_peephole,
    lstm_peephole_gers,
    lstm_projected,
    mgu,
    mingru,
    minlstm,
    rnn,
    sru,
    ugrnn,
)

SATURATED = 1000.0
"""A pre-activation whose sigmoid is exactly 1 in float64, and exactly 0 with the other sign."""


def zeros(*shape: int) -> Tensor:
    return torch.zeros(*shape, dtype=torch.float64)


def gates(p: Params, names: str, letters: str = "WUb") -> dict[str, Tensor]:
    """Stacked parameters cut into their gates: ``{"W_i": ..., "U_i": ..., ...}``."""
    return {
        f"{letter}_{gate}": part
        for letter in letters
        for gate, part in zip(names, p[letter].chunk(len(names)), strict=True)
    }


def concatenated(p: Params, names: dict[str, str]) -> Params:
    """The parameters of a Γ form: ``names`` says which stacked gate each of its gates is."""
    g = gates(p, "".join(names.values()))
    weights = {f"W_{ours}": torch.cat([g[f"U_{n}"], g[f"W_{n}"]], 1) for ours, n in names.items()}
    return weights | {f"b_{ours}": g[f"b_{n}"] for ours, n in names.items()}


NONLINEARITIES = pytest.mark.parametrize("nonlinearity", ["tanh", "relu", "sigmoid"])


@NONLINEARITIES
def test_the_forms_of_the_simple_network(nonlinearity: str) -> None:
    p, given = parameters(rnn), states(rnn)
    cells = [c.bind(nonlinearity=nonlinearity) for c in (rnn, elman, elman_rows, elman_concat)]
    one = {"W_xh": p["W_ih"], "W_hh": p["W_hh"], "b_h": p["b_ih"] + p["b_hh"]}
    rows = {"W_xh": p["W_ih"].T, "W_hh": p["W_hh"].T, "b_h": one["b_h"]}
    joined = {"W_a": torch.cat([p["W_hh"], p["W_ih"]], 1), "b_a": one["b_h"]}
    for cell, params in zip(cells[1:], (one, rows, joined), strict=True):
        assert_same_step(cells[0], p, cell, params, given)


@NONLINEARITIES
@pytest.mark.parametrize("output", ["identity", "sigmoid", "softmax"])
def test_the_forms_with_an_output(nonlinearity: str, output: str) -> None:
    p, given = parameters(elman_output), states(elman_output)
    options = {"nonlinearity": nonlinearity, "output": output}
    joined = {
        "W_a": torch.cat([p["W_hh"], p["W_xh"]], 1),
        "b_a": p["b_h"],
        "W_y": p["W_hy"],
        "b_y": p["b_y"],
    }
    separate, concat = elman_output.bind(**options), elman_concat_output.bind(**options)
    assert_same_step(separate, p, concat, joined, given)
    _, h = step(separate, p, given)
    plain = {name: p[name] for name in elman.parameters}
    assert torch.equal(h, step(elman.bind(nonlinearity=nonlinearity), plain, given)[1])


def test_a_leaky_network_between_no_memory_and_all() -> None:
    p, given = parameters(leaky_rnn), states(leaky_rnn)
    plain = {"W_xh": p["W"], "W_hh": p["U"], "b_h": p["b"]}
    short, long = torch.full((H,), -10.0), torch.full((H,), 50.0)
    assert_same_step(leaky_rnn, p | {"log_tau": short.double()}, elman, plain, given)
    assert torch.equal(step(leaky_rnn, p | {"log_tau": long.double()}, given)[0], given[0])


def test_two_half_steps_of_a_leaky_network_are_one() -> None:
    # Without the recurrent product the equation is linear, and its solution exact for any step.
    p, given = parameters(leaky_rnn) | {"U": zeros(H, H)}, states(leaky_rnn)
    x = inputs()
    once, _ = naive.recurrence(leaky_rnn, x, given, p)
    twice, _ = naive.recurrence(leaky_rnn.bind(dt=0.5), x.repeat(2, 1, 1), given, p)
    # The weights of leaky_rnn hold exp(log_tau), which is at most e here.
    torch.testing.assert_close(twice[1], once[0], rtol=0, atol=4 * rounding(p, *given))


def test_independent_units_have_a_diagonal_weight() -> None:
    p, given = parameters(indrnn), states(indrnn)
    full = {"W_xh": p["W"], "W_hh": p["u"].diag(), "b_h": p["b"]}
    assert_same_step(indrnn, p, elman.bind(nonlinearity="relu"), full, given)


def test_one_bias_is_the_sum_of_two() -> None:
    p, given = parameters(lstm), states(lstm)
    one = {"W": p["W_ih"], "U": p["W_hh"], "b": p["b_ih"] + p["b_hh"]}
    assert_same_step(lstm, p, lstm_one_bias, one, given)


GAMMA = {"u": "i", "f": "f", "c": "g", "o": "o"}


def test_concatenated_lstm() -> None:
    p, given = parameters(lstm_one_bias), states(lstm_one_bias)
    assert_same_step(lstm_one_bias, p, lstm_concat, concatenated(p, GAMMA), given)


def test_blind_peepholes_are_none() -> None:
    p, given = parameters(lstm_one_bias), states(lstm_one_bias)
    blind = {f"p_{gate}": zeros(H) for gate in "ufo"}
    assert_same_step(lstm_one_bias, p, lstm_peephole, concatenated(p, GAMMA) | blind, given)
    assert_same_step(lstm_one_bias, p, lstm_peephole_gers, p | {"p": zeros(3 * H)}, given)


def test_peepholes_of_one_add_the_cell_state_to_every_gate() -> None:
    p, given = concatenated(parameters(lstm_one_bias), GAMMA), states(lstm_peephole)
    sight = {f"p_{gate}": torch.ones(H, dtype=torch.float64) for gate in "ufo"}
    seen = step(lstm_peephole, p | sight, given)
    for row in range(BATCH):
        added = {f"b_{gate}": p[f"b_{gate}"] + given[1][row] for gate in "ufo"}
        plain = step(lstm_concat, p | added, given)
        for a, b in zip(seen, plain, strict=True):
            bound = rounding(p | added | sight, *given)
            torch.testing.assert_close(a[row], b[row], rtol=0, atol=bound)


def test_the_two_kinds_of_peephole_differ_in_the_output_gate_alone() -> None:
    p, given = parameters(lstm_peephole_gers), states(lstm_peephole_gers)
    p_i, p_f, p_o = p["p"].chunk(3)
    before = concatenated(p, GAMMA) | {"p_u": p_i, "p_f": p_f}
    blind = p | {"p": torch.cat([p_i, p_f, zeros(H)])}
    assert_same_step(lstm_peephole_gers, blind, lstm_peephole, before | {"p_o": zeros(H)}, given)

    _, h, c = step(lstm_peephole_gers, p, given)
    assert torch.equal(c, step(lstm_peephole_gers, blind, given)[2])
    g = gates(p, "ifgo")
    o = sigmoid(inputs()[0] @ g["W_o"].T + given[0] @ g["U_o"].T + p_o * c + g["b_o"])
    torch.testing.assert_close(h, o * tanh(c), rtol=0, atol=rounding(p, *given))
    assert (step(lstm_peephole, before | {"p_o": p_o}, given)[1] - h).abs().max() > 1e-3


def test_a_coupled_input_gate_is_the_forget_gate_negated() -> None:
    p, given = parameters(lstm_coupled), states(lstm_coupled)
    g = gates(p, "fgo")
    stacked = {n: torch.cat([-g[f"{n}_f"], g[f"{n}_f"], g[f"{n}_g"], g[f"{n}_o"]]) for n in "WUb"}
    assert_same_step(lstm_coupled, p, lstm_one_bias, stacked, given)


def test_a_projection_by_the_identity_is_none() -> None:
    p, given = parameters(lstm), states(lstm)
    assert_same_step(
        lstm_projected, p | {"W_hr": torch.eye(H, dtype=torch.float64)}, lstm, p, given
    )


def test_layer_norm_against_its_definition() -> None:
    p, (h, c) = parameters(lstm_layer_norm), states(lstm_layer_norm)

    def norm(v: Tensor) -> Tensor:
        return (v - v.mean(1, True)) / (v.var(1, correction=0, keepdim=True) + 1e-5).sqrt()

    products = norm(inputs()[0] @ p["W"].T) * p["gain_x"] + norm(h @ p["U"].T) * p["gain_h"]
    i, f, g, o = (products + p["b"]).chunk(4, 1)
    c_new = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h_new = sigmoid(o) * tanh(norm(c_new) * p["gain_c"] + p["shift_c"])
    # A norm divides its error by the deviation of what it is given, and adds 4H terms.
    deviations = [
        v.std(1, correction=0).min() for v in (inputs()[0] @ p["W"].T, h @ p["U"].T, c_new)
    ]
    bound = 5 * rounding(p, h, c) / float(min(deviations)) ** 2
    assert bound < 1e-7
    for a, b in zip(step(lstm_layer_norm, p, (h, c)), (h_new, h_new, c_new), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=bound)


def test_janet_without_its_excess_is_the_update_gate_network() -> None:
    p, given = parameters(janet), states(janet)
    assert_same_step(janet.bind(beta=0.0), p, ugrnn, p, given)


def test_janet_lets_in_more_than_it_forgets() -> None:
    p, given = parameters(janet), states(janet)
    g = gates(p, "fc")
    s, candidate = (
        inputs()[0] @ g[f"W_{n}"].T + given[0] @ g[f"U_{n}"].T + g[f"b_{n}"] for n in "fc"
    )
    excess = (sigmoid(s) - sigmoid(s - 1)) * tanh(candidate)
    difference = step(janet, p, given)[0] - step(janet.bind(beta=0.0), p, given)[0]
    torch.testing.assert_close(difference, excess, rtol=0, atol=2 * rounding(p, *given))


def test_a_gru_without_biases() -> None:
    p, given = parameters(gru_no_bias), states(gru_no_bias)
    stacked = {
        "W_ih": torch.cat([p["W_r"], p["W_z"], p["W"]]),
        "W_hh": torch.cat([p["U_r"], p["U_z"], p["U"]]),
        "b_ih": zeros(3 * H),
        "b_hh": zeros(3 * H),
    }
    assert_same_step(gru_no_bias, p, gru, stacked, given)


def negated(p: Params, gate: str) -> Params:
    return p | {f"W_{gate}": -p[f"W_{gate}"], f"b_{gate}": -p[f"b_{gate}"]}


def test_the_update_gate_that_keeps_is_the_one_that_lets_in_negated() -> None:
    p, given = parameters(gru_cho), states(gru_cho)
    same_sign = concatenated(p, {"r": "r", "u": "z", "c": "h"})
    assert_same_step(gru_cho, p, gru_full, negated(same_sign, "u"), given)
    wrong = step(gru_full, same_sign, given)[0] - step(gru_cho, p, given)[0]
    assert wrong.abs().max() > 1e-3


def test_the_reset_commutes_with_a_diagonal_weight_only() -> None:
    p, given = parameters(gru_cho), states(gru_cho)

    def after(p: Params) -> Params:
        return {"W_ih": p["W"], "W_hh": p["U"], "b_ih": p["b"], "b_hh": zeros(3 * H)}

    U_r, U_z, U_h = p["U"].chunk(3)
    diagonal = p | {"U": torch.cat([U_r, U_z, U_h.diag().diag()])}
    assert_same_step(gru_cho, diagonal, gru, after(diagonal), given)
    assert (step(gru_cho, p, given)[0] - step(gru, after(p), given)[0]).abs().max() > 1e-3


def test_the_simplified_gru_resets_nothing() -> None:
    p, given = parameters(gru_simple), states(gru_simple)
    open_gate = torch.full((H,), SATURATED, dtype=torch.float64)
    reset = {"W_r": zeros(H, H + D), "b_r": open_gate}
    # The bound is taken without the saturated bias, whose rounding no sigmoid passes on.
    ours, full = step(gru_simple, p, given), step(gru_full, p | reset, given)
    for a, b in zip(ours, full, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=rounding(p, *given))


def test_the_simplified_gru_is_the_update_gate_network() -> None:
    p, given = parameters(ugrnn), states(ugrnn)
    simple = negated(concatenated(p, {"u": "g", "c": "c"}), "u")
    assert_same_step(ugrnn, p, gru_simple, simple, given)


def test_the_minimal_gated_unit_resets_and_updates_by_one_gate() -> None:
    p, given = parameters(mgu), states(mgu)
    full = concatenated(p, {"u": "f", "c": "h"})
    full |= {"W_r": full["W_u"], "b_r": full["b_u"]}
    assert_same_step(mgu, p, gru_full, full, given)


def test_minimal_lstm_with_complementary_gates_is_the_minimal_gru() -> None:
    p, given = parameters(mingru), states(mingru)
    g = gates(p, "zh", "Wb")
    stacked = {n: torch.cat([-g[f"{n}_z"], g[f"{n}_z"], g[f"{n}_h"]]) for n in "Wb"}
    assert_same_step(mingru, p, minlstm, stacked, given)


def test_the_gates_of_the_minimal_lstm_add_up_to_one() -> None:
    # A state that equals the candidate stays where it is, whatever the gates.
    p = parameters(minlstm)
    W_f, W_i, W_h = p["W"].chunk(3)
    b_f, b_i, b_h = p["b"].chunk(3)
    level = {"W": torch.cat([W_f, W_i, 0 * W_h]), "b": torch.cat([b_f, b_i, b_h])}
    given = (b_h.expand(BATCH, H),)
    torch.testing.assert_close(
        step(minlstm, level, given)[1], given[0], rtol=0, atol=rounding(p, *given)
    )


def test_the_state_of_the_simple_recurrent_unit_is_a_minimal_gru_negated() -> None:
    p, given = parameters(sru), states(sru)
    W_x, W_f, _ = p["W"].chunk(3)
    b_f, b_r = p["b"].chunk(2)
    minimal = {"W": torch.cat([-W_f, W_x]), "b": torch.cat([-b_f, zeros(H)])}
    c = step(mingru, minimal, given)[1]
    y, new = step(sru, p, given)
    torch.testing.assert_close(new, c, rtol=0, atol=rounding(p, *given))

    full = torch.full((H,), SATURATED, dtype=torch.float64)
    shown, new = step(sru, p | {"b": torch.cat([b_f, full])}, given)
    assert torch.equal(shown, new)
    passed, _ = step(sru, p | {"b": torch.cat([b_f, -full])}, given)
    torch.testing.assert_close(passed, inputs()[0] @ p["W_s"].T, rtol=0, atol=rounding(p, *given))
    r = sigmoid(inputs()[0] @ p["W"].chunk(3)[2].T + b_r)
    torch.testing.assert_close(y, r * c + (1 - r) * passed, rtol=0, atol=rounding(p, *given))
