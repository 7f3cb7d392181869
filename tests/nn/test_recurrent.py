"""``Recurrent``: any cell over layers and directions, against its composition by hand."""

import copy
import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn, sigmoid, tanh
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled.nn as un
from layer_samples import LENGTHS, B, D, H, T, random, results, rounding
from unrolled import cell, cells, naive, param, state
from unrolled.cell import Cell


@cell
def peephole(
    x,
    h,
    c,
    *,
    W=param("4*H", "D"),
    U=param("4*H", "H"),
    b=param("4*H", init=0.5),
    p=param("3*H", init=nn.init.normal_),
):
    i, f, g, o = (W @ x + U @ h + b).chunk(4)
    p_i, p_f, p_o = p.chunk(3)
    c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
    return sigmoid(o + p_o * c) * tanh(c), c


@cell
def reads_out(x, h=state("P"), *, W=param("P", "D"), V=param("O", "P")):
    """An output of another size than the state, and a state of another size than H."""
    h = tanh(W @ x + h)
    return V @ h, (h,)


@cell
def accumulates(x, h=state("D")):
    """No parameters, and a state as long as the input."""
    return h + x


CASES: dict[str, tuple[Cell, dict[str, int], int]] = {
    "peephole": (peephole, {}, H),
    "reads out": (reads_out, {"P": 4, "O": 2}, 2),
    "gru": (cells.gru, {}, H),
    "without biases": (cells.lstm.bind(b_ih=0.0, b_hh=0.0), {}, H),
}


def by_hand(
    layer: un.Recurrent, x: Tensor, states: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The plain loop of ``naive``, composed over layers and directions for [T, B, D]."""
    n = 2 if layer.bidirectional else 1
    finals: list[tuple[Tensor, ...]] = []
    for k in range(layer.num_layers):
        outputs: list[Tensor] = []
        for d in range(n):
            suffix = f"_l{k}" + ("_reverse" if d else "")
            params = {name: getattr(layer, name + suffix) for name in layer.cell.parameters}
            initial = [s[n * k + d] for s in states]
            y, final = naive.recurrence(layer.cell, x.flip(0) if d else x, initial, params)
            outputs.append(y.flip(0) if d else y)
            finals.append(final)
        x = torch.cat(outputs, -1)
    return x, tuple(torch.stack(rows) for rows in zip(*finals, strict=True))


def zeros(layer: un.Recurrent, n_sequences: int) -> tuple[Tensor, ...]:
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    lengths = layer.cell.state_sizes(layer.layer_sizes[0])
    return tuple(torch.zeros(rows, n_sequences, n, dtype=torch.float64) for n in lengths)


def build(case: str, **options: Any) -> un.Recurrent:
    step, sizes, _ = CASES[case]
    return un.Recurrent(step, D, H, sizes=sizes, dtype=torch.float64, **options)


@pytest.mark.parametrize("form", ["time-major", "batch-first", "unbatched"])
@pytest.mark.parametrize("with_state", [True, False], ids=["given", "zero"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_equals_the_composition_by_hand(
    case: str, num_layers: int, bidirectional: bool, with_state: bool, form: str
) -> None:
    torch.manual_seed(2)
    layer = build(
        case,
        num_layers=num_layers,
        bidirectional=bidirectional,
        batch_first=form == "batch-first",
    )
    n = 1 if form == "unbatched" else B
    x = random(T, n, D).requires_grad_()
    states = zeros(layer, n)
    if with_state:
        states = tuple(torch.randn_like(s).requires_grad_() for s in states)

    def ours() -> tuple[Tensor, Sequence[Tensor]]:
        if form == "unbatched":
            given = tuple(s[:, 0] for s in states) if with_state else None
            y, final = layer(x[:, 0], given)
            return y[:, None], tuple(s[:, None] for s in final)
        if form == "batch-first":
            y, final = layer(x.transpose(0, 1), states if with_state else None)
            return y.transpose(0, 1), final
        return layer(x, states if with_state else None)

    sources = (x, *(states if with_state else ()))
    expected = results(lambda: by_hand(layer, x, states), sources, layer)
    found = results(ours, sources, layer)
    found.assert_equal(expected, rounding(num_layers, T, n, expected.magnitude))
    assert found.values["y"].shape[-1] == layer.output_size
    assert layer.output_size == CASES[case][2] * (2 if bidirectional else 1)


@pytest.mark.parametrize("case", CASES)
def test_packed_sequences_equal_each_sequence_alone(case: str) -> None:
    layer = build(case, num_layers=2, bidirectional=True, batch_first=True)
    padded = random(len(LENGTHS), max(LENGTHS), D)
    states = tuple(torch.randn_like(s) for s in zeros(layer, len(LENGTHS)))
    packed = pack_padded_sequence(padded, list(LENGTHS), batch_first=True, enforce_sorted=False)
    y, final = layer(packed, states)
    y, _ = pad_packed_sequence(y, batch_first=True)
    for i, length in enumerate(LENGTHS):
        alone, alone_final = layer(padded[i, :length], tuple(s[:, i] for s in states))
        bound = rounding(2, T, 1, y.abs().max().item())
        torch.testing.assert_close(y[i, :length], alone, rtol=0, atol=bound)
        for whole, part in zip(final, alone_final, strict=True):
            torch.testing.assert_close(whole[:, i], part, rtol=0, atol=bound)


def test_every_textbook_cell_trains_in_two_layers() -> None:
    for step in cells.CELLS.values():
        wanted = {"O": 4, "P": 2}
        known = {str(e) for p in step.parameters.values() for e in p.shape}
        sizes = {name: n for name, n in wanted.items() if name in known}
        layer = un.Recurrent(step, D, H, 2, bidirectional=True, sizes=sizes)
        y, final = layer(random(T, B, D, dtype=torch.float32))
        (y.sum() + sum(s.sum() for s in final)).backward()
        for name, parameter in layer.named_parameters():
            assert parameter.grad is not None, f"{step.name}: {name}"
            assert parameter.grad.isfinite().all(), f"{step.name}: {name}"


# 1/√6 and 1/√7 are numbers for which 1 / math.sqrt(n) and n**-0.5 differ in the last bit.
@pytest.mark.parametrize("hidden_size", [5, 6, 7])
def test_equals_the_drop_in_of_the_same_cell(hidden_size: int) -> None:
    torch.manual_seed(0)
    layer = un.Recurrent(cells.lstm, D, hidden_size, 2, bidirectional=True, dtype=torch.float64)
    torch.manual_seed(0)
    drop_in = un.LSTM(D, hidden_size, 2, bidirectional=True, dtype=torch.float64)
    for ours, theirs in zip(layer.parameters(), drop_in.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    x = random(T, B, D)
    y, (h, c) = layer(x)
    expected, (expected_h, expected_c) = drop_in(x)
    for a, b in ((y, expected), (h, expected_h), (c, expected_c)):
        torch.testing.assert_close(a, b, rtol=0, atol=rounding(2, T, B, 1.0))


def test_parameters_have_names_shapes_and_first_values_of_the_cell() -> None:
    torch.manual_seed(0)
    layer = un.Recurrent(peephole, D, H, 2, bidirectional=True)
    shapes = {name: tuple(p.shape) for name, p in layer.named_parameters()}
    expected = {
        f"{name}_l{k}{suffix}": shape
        for k in range(2)
        for suffix in ("", "_reverse")
        for name, shape in {
            "W": (4 * H, D if k == 0 else 2 * H),
            "U": (4 * H, H),
            "b": (4 * H,),
            "p": (3 * H,),
        }.items()
    }
    assert shapes == expected
    assert list(shapes) == list(expected)
    torch.manual_seed(0)
    for suffix in ("_l0", "_l0_reverse", "_l1", "_l1_reverse"):
        for name in ("W", "U"):
            value = layer.get_parameter(name + suffix)
            bound = 1 / math.sqrt(H)
            assert torch.equal(value, torch.empty_like(value).uniform_(-bound, bound))
        assert torch.equal(layer.get_parameter("b" + suffix), torch.full((4 * H,), 0.5))
        assert torch.equal(layer.get_parameter("p" + suffix), torch.empty(3 * H).normal_())


def test_reset_parameters_draws_anew() -> None:
    layer = un.Recurrent(peephole, D, H)
    before = {name: p.detach().clone() for name, p in layer.named_parameters()}
    layer.reset_parameters()
    assert not torch.equal(layer.get_parameter("W_l0"), before["W_l0"])
    assert torch.equal(layer.get_parameter("b_l0"), before["b_l0"])


def test_dropout_stands_between_layers_in_training() -> None:
    layer = build("peephole", num_layers=2, dropout=0.5)
    x = random(T, B, D)
    torch.manual_seed(0)
    first, _ = layer(x)
    torch.manual_seed(0)
    again, _ = layer(x)
    other, _ = layer(x)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    layer.eval()
    expected, _ = by_hand(layer, x, zeros(layer, B))
    torch.testing.assert_close(layer(x)[0], expected, rtol=0, atol=rounding(2, T, B, 1.0))
    layer.train().dropout = 1.0
    below = un.Recurrent(peephole, H, H, dtype=torch.float64)
    below.load_state_dict(
        {name: layer.get_parameter(name[:-1] + "1") for name in below.state_dict()}
    )
    torch.testing.assert_close(layer(x)[0], below(torch.zeros(T, B, H, dtype=torch.float64))[0])


def test_a_bare_state_for_a_cell_of_one_state() -> None:
    layer = build("gru", num_layers=2)
    x, h = random(T, B, D), random(2, B, H)
    y, final = layer(x, h)
    assert isinstance(final, tuple)
    assert torch.equal(y, layer(x, (h,))[0])
    assert torch.equal(layer(x, [h])[0], y)


def test_the_state_carries_over() -> None:
    layer = build("peephole", num_layers=2)
    x = random(2 * T, B, D)
    whole, final = layer(x)
    first, carried = layer(x[:T])
    second, last = layer(x[T:], carried)
    bound = rounding(2, 2 * T, B, 1.0)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=bound)
    for a, b in zip(last, final, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=bound)


def test_a_cell_without_parameters() -> None:
    layer = un.Recurrent(accumulates, D, H, bidirectional=True)
    x = random(T, B, D)
    y, _ = layer(x)
    torch.testing.assert_close(y[..., :D], x.cumsum(0))
    torch.testing.assert_close(y[..., D:], x.flip(0).cumsum(0).flip(0))


def test_second_derivatives() -> None:
    layer = build("peephole", num_layers=2, bidirectional=True)
    x = random(3, 2, D).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: layer(x)[0], x)
    assert torch.autograd.gradgradcheck(lambda x: layer(x)[0], x)


def test_state_dict_and_copies() -> None:
    layer = build("peephole", num_layers=2)
    x = random(T, B, D)
    other = build("peephole", num_layers=2)
    assert not torch.equal(other(x)[0], layer(x)[0])
    other.load_state_dict(layer.state_dict(), strict=True)
    assert torch.equal(other(x)[0], layer(x)[0])
    copied = copy.deepcopy(layer)
    with torch.no_grad():
        layer.get_parameter("W_l0").zero_()
    assert torch.equal(copied(x)[0], other(x)[0])
    assert not torch.equal(copied(x)[0], layer(x)[0])


@pytest.mark.parametrize("case", CASES)
def test_a_layer_of_saved_equations_computes_the_same(case: str) -> None:
    layer = build(case, num_layers=2, bidirectional=True)
    saved = Cell.from_graphs(layer.graphs())
    sizes = CASES[case][1]
    other = un.Recurrent(saved, D, H, 2, bidirectional=True, sizes=sizes, dtype=torch.float64)
    other.load_state_dict(layer.state_dict(), strict=True)
    x = random(T, B, D)
    assert torch.equal(other(x)[0], layer(x)[0])


def test_parametrized_weights_are_used_and_refuse_to_be_reset() -> None:
    layer = build("gru")
    x = random(T, B, D)
    before, _ = layer(x)
    nn.utils.parametrizations.weight_norm(layer, "W_hh_l0")
    torch.testing.assert_close(layer(x)[0], before, rtol=0, atol=rounding(1, T, B, 1.0))
    with torch.no_grad():
        layer.parametrizations.W_hh_l0.original0.mul_(2)  # pyright: ignore
    assert not torch.allclose(layer(x)[0], before)
    with pytest.raises(RuntimeError, match="W_hh_l0 is computed from other parameters"):
        layer.reset_parameters()


def test_repr() -> None:
    layer = un.Recurrent(
        reads_out, D, H, 2, batch_first=True, dropout=0.1, bidirectional=True,
        sizes={"P": 4, "O": 2}, backend="reference",
    )  # fmt: skip
    assert repr(layer) == (
        "Recurrent(reads_out, 3, 5, num_layers=2, batch_first=True, dropout=0.1, "
        "bidirectional=True, sizes={'P': 4, 'O': 2}, backend='reference')"
    )
    assert repr(un.Recurrent(cells.gru, D, H)) == "Recurrent(gru, 3, 5)"
