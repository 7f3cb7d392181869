"""Gates are found in any cell's equations; what is said of them is what a plain loop computes."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

import unrolled
from gated_cells import OWN
from tiny_models import TEXT, tiny
from unrolled.cells import CELLS
from unrolled.errors import DataError, ModelError
from unrolled.inspect.gates import gates

STEPS, BATCH, D, H = 40, 3, 4, 5
EPS = torch.finfo(torch.float64).eps


# What the new state keeps of the old beside tanh and matrix products, worked out by hand.
KEEPS: dict[str, Any] = {
    "lstm": lambda v: v["f"],
    "gru_full": lambda v: 1 - v["Gamma_u"],
    "mgu": lambda v: 1 - v["f"],
    "two_factors": lambda v: v["a"] * v["b"],
    "scalar": lambda v: v["f"].expand(-1, H),
    "keras_hard": lambda v: 1 - v["f"],
    "zoneout": lambda v: 0.25 + 0.75 * v["f"],
}


@pytest.mark.parametrize("name", KEEPS)
def test_time_constants_are_those_of_the_share_that_is_kept(name: str) -> None:
    torch.manual_seed(0)
    cell = CELLS.get(name) or OWN[name][0]
    layer = unrolled.Recurrent(cell, D, H, dtype=torch.float64)
    found = gates(layer, torch.randn(STEPS, BATCH, D, dtype=torch.float64))
    values = {g.name: g.values for g in found.gates}
    assert all(v.shape[0] == STEPS * BATCH for v in values.values())
    (kept,) = found.kept
    share = KEEPS[name](values)
    assert share.min() > EPS
    # One product after the other, as the state itself goes through them.
    left = torch.ones(H, dtype=torch.float64)
    for row in share:
        left = left * row
    expected = -1 / (left.log() / len(share))
    # N roundings of the product against N of the logarithms' sum.
    bound = 4 * len(share) * EPS / left.log().abs().min()
    torch.testing.assert_close(kept.time_constants, expected, rtol=float(bound), atol=0)


@pytest.mark.parametrize("f", [0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("make", [unrolled.LSTM, "lstm_one_bias"])
def test_a_forget_gate_held_at_f_has_time_constant_minus_one_over_ln_f(
    f: float, dtype: torch.dtype, make: Any
) -> None:
    if make == "lstm_one_bias":
        layer = unrolled.Recurrent(CELLS[make], D, H, dtype=dtype)
        bias = layer.get_parameter("b_l0")
    else:
        layer = make(D, H, dtype=dtype)
        bias = layer.get_parameter("bias_ih_l0")
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        bias[H : 2 * H] = math.log(f / (1 - f))
    found = gates(layer, torch.randn(STEPS, BATCH, D, dtype=dtype))
    (kept,) = found.kept
    assert kept.by == ("f",)
    # The bias and the sigmoid are rounded, by some eps of the logit and of f.
    eps = torch.finfo(dtype).eps
    logit = abs(math.log(f / (1 - f)))
    relative = eps * (4 + logit) / -math.log(f)
    torch.testing.assert_close(
        kept.time_constants, torch.full((H,), -1 / math.log(f), dtype=torch.float64),
        rtol=2 * relative, atol=0,
    )  # fmt: skip


def test_a_unit_that_is_wiped_now_and_then_lasts_in_between() -> None:
    layer = unrolled.Recurrent(CELLS["lstm_one_bias"], 1, 1, dtype=torch.float64)
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.get_parameter("W_l0")[1] = 1
    keeps, wipes = math.log(0.99 / 0.01), math.log(0.001 / 0.999)
    x = torch.full((30, 1, 1), keeps, dtype=torch.float64)
    x[9::10] = wipes
    (kept,) = gates(layer, x).kept
    mean = (27 * math.log(0.99) + 3 * math.log(0.001)) / 30
    assert kept.time_constants.tolist() == pytest.approx([-1 / mean])
    assert kept.typical.tolist() == pytest.approx([-1 / math.log(0.99)])


def test_extremes_are_told_apart() -> None:
    layer = unrolled.Recurrent(CELLS["lstm_one_bias"], D, 3)
    with torch.no_grad():
        for p in layer.parameters():
            p.zero_()
        layer.get_parameter("b_l0")[3:6] = torch.tensor([50.0, -200.0, 0.0])
    (kept,) = gates(layer, torch.randn(STEPS, BATCH, D)).kept
    eps = torch.finfo(torch.float32).eps
    assert kept.time_constants[0] == math.inf
    assert kept.time_constants[1] == pytest.approx(-1 / math.log(eps))
    assert kept.time_constants[2] == pytest.approx(1 / math.log(2))


def test_a_leak_made_of_a_parameter_has_its_time_constant() -> None:
    layer = unrolled.Recurrent(CELLS["leaky_rnn"], D, H, dtype=torch.float64)
    found = gates(layer, torch.randn(STEPS, BATCH, D, dtype=torch.float64))
    (kept,) = found.kept
    assert (found.gates, found.without, kept.by) == ((), {"recurrent l0": ("h",)}, ())
    torch.testing.assert_close(kept.time_constants, layer.get_parameter("log_tau_l0").exp())


def test_counts_and_shares_are_those_of_a_plain_count() -> None:
    torch.manual_seed(0)
    layer = unrolled.GRU(D, H)
    found = gates(layer, 5 * torch.randn(STEPS, BATCH, D))
    assert [g.name for g in found.gates] == ["r", "z"]
    for g in found.gates:
        counts, low, high = [0] * 50, [0] * H, [0] * H
        for row in g.values.tolist():
            for unit, v in enumerate(row):
                counts[min(int(v * 50), 49)] += 1
                low[unit] += v < 0.1
                high[unit] += v > 0.9
        # float32 and float64 may part by one rounding at the edge of two bins.
        assert (g.counts - torch.tensor(counts)).abs().sum() <= 2
        assert int(g.counts.sum()) == STEPS * BATCH * H
        n = STEPS * BATCH
        assert g.low.tolist() == [k / n for k in low]
        assert g.high.tolist() == [k / n for k in high]
        assert g.high.sum() > 0


@pytest.mark.parametrize("lengths", [[2, 40, 17]])
def test_padding_is_no_step(lengths: list[int]) -> None:
    torch.manual_seed(0)

    class Padded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = unrolled.LSTM(D, H, bidirectional=True)

        def forward(self, x: Tensor) -> Any:
            return self.layer(x, lengths=lengths)

    model = Padded()
    x = torch.randn(STEPS, BATCH, D)
    found = gates(model, x)
    assert {g.layer for g in found.gates} == {"layer l0", "layer l0 reverse"}
    f = {(g.layer, g.name): g.values for g in found.gates}["layer l0", "f"]
    alone = [gates(model.layer, x[:n, k : k + 1]).gates for k, n in enumerate(lengths)]
    parts = [
        next(g.values for g in one if (g.layer, g.name) == ("recurrent l0", "f")) for one in alone
    ]
    order = sorted(range(BATCH), key=lambda k: -lengths[k])
    torch.testing.assert_close(f, torch.cat([parts[k] for k in order]))


def test_a_text_is_read_as_one() -> None:
    model = tiny("lstm")
    text = TEXT * 60
    told: list[float] = []
    found = gates(model, text, progress=lambda what, share: told.append(share))
    assert told == sorted(told)
    assert (len(told) > 1, told[-1]) == (True, 1.0)
    embedded = model.embedding(model.with_start(text).unsqueeze(1))  # type: ignore[misc]
    whole = gates(model.recurrent, embedded)
    for ours, theirs in zip(found.gates, whole.gates, strict=True):
        torch.testing.assert_close(ours.values, theirs.values[1:])
    assert found.sample is not None
    assert found.sample.text == text


def test_a_cell_without_gates_is_said_to_have_none() -> None:
    found = gates(tiny("rnn"), TEXT)
    assert (found.gates, found.kept, found.table(), found.time_constants()) == ((), (), [], [])
    assert str(found) == (
        "recurrent l0: its cell has no gates\nrecurrent l1: its cell has no gates"
    )


@unrolled.cell
def by_exp(x: Tensor, c: Tensor, *, W: Tensor = unrolled.param("H", "D")) -> Any:
    return (c := torch.exp(W @ x) * c + x.sum()), (c,)


@pytest.mark.parametrize("cell", [by_exp, CELLS["leaky_rnn"]])
def test_a_state_kept_by_what_is_no_gate_is_said_so(cell: unrolled.Cell) -> None:
    found = gates(unrolled.Recurrent(cell, D, H), torch.randn(STEPS, BATCH, D) / 10)
    (kept,) = found.kept
    first, second = str(found).splitlines()
    assert first == (
        f"recurrent l0: no value of its cell is known to be a gate, but it keeps {kept.state} by a "
        "factor that is fixed or not known to lie between 0 and 1"
    )
    assert second.startswith(f"recurrent l0: state {kept.state}: time constants of ")


def test_what_was_seen_is_said_in_words() -> None:
    model = tiny("gru", num_layers=1)
    with torch.no_grad():
        for p in model.recurrent.parameters():
            p.zero_()
    assert str(gates(model, TEXT)) == (
        "recurrent l0: gate r: mean 0.50, 0% below 0.1, 0% above 0.9\n"
        "recurrent l0: gate z, keeps h: mean 0.50, 0% below 0.1, 0% above 0.9\n"
        "recurrent l0: state h: time constants of 1.44 to 1.44 steps (10 % to 90 % of its units), "
        "median 1.44"
    )


@unrolled.cell
def misnamed(x: Tensor, c: Tensor, *, W: Tensor = unrolled.param("H", "D")) -> Any:
    y = torch.sigmoid(W @ x)
    c = y * c + W @ x
    return torch.tanh(c), (c,)


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [
        (torch.nn.Linear(2, 2), torch.zeros(1, 2), "there are no recurrent layers to look into: "),
        (unrolled.GRU(D, H), torch.full((2, 1, D), math.nan), "the input holds 8 numbers that "),
        (unrolled.GRU(D, H), "text", "text is read by a LanguageModel, this is a GRU: give the "),
        (tiny(), "", "the text is empty: there is nothing to look at"),
        (
            unrolled.Recurrent(misnamed, D, H),
            torch.zeros(2, 1, D),
            "misnamed: the gate y has the name of an output or a state that is another value: "
            "rename it",
        ),
    ],
)
def test_bad_input_gets_one_line(model: Any, given: Any, expected: str) -> None:
    with pytest.raises((ValueError, TypeError, DataError, ModelError)) as caught:
        gates(model, given)
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)


def test_a_state_that_grows_without_bound_is_told() -> None:
    layer = unrolled.Recurrent(CELLS["indrnn"], D, H)
    with torch.no_grad():
        for p in layer.parameters():
            p.fill_(1e4)
    with pytest.raises(ModelError) as caught:
        gates(layer, torch.ones(12, 1, D))
    # After step t the state is at least 1e4 ** t, beyond float32 from the tenth on.
    assert str(caught.value) == (
        "recurrent l0: after 3 of 12 steps the state h is not finite: it grows without bound; give "
        "a shorter input or another model"
    )
