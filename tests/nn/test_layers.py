"""``Recurrent`` with widths and cells of their own in each layer, against the layers by hand."""

import copy
import pickle
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import unrolled as ur
from layer_samples import LENGTHS, B, D, T, random, results, rounding
from unrolled import cell, cells, naive, state
from unrolled.cell import Cell


@cell
def accumulates(x, h=state("D")):
    """No parameters, and a state as long as the input."""
    return h + x


STACKS: dict[str, tuple[dict[str, Any], tuple[str, ...], list[tuple[str, int]]]] = {
    "widths": (
        {"cell": cells.lstm, "hidden_size": (5, 4, 6)},
        ("h_l0", "c_l0", "h_l1", "c_l1", "h_l2", "c_l2"),
        [("lstm", 5), ("lstm", 4), ("lstm", 6)],
    ),
    "cells": (
        {"cell": [cells.gru, cells.lstm_projected, cells.sru], "hidden_size": 5, "sizes": {"P": 2}},
        ("h_l0", "h_l1", "c_l1", "c_l2"),
        [("gru", 5), ("lstm_projected", 5), ("sru", 5)],
    ),
    "cells and widths": (
        {"cell": [cells.gru, ur.residual(cells.gru, project=True)], "hidden_size": [5, 4]},
        ("h_l0", "h_l1"),
        [("gru", 5), ("residual(gru, project=True)", 4)],
    ),
    "cells with the same states": (
        {"cell": [cells.lstm, ur.layer_norm(cells.lstm_one_bias, "h")], "hidden_size": 5},
        ("h", "c"),
        [("lstm", 5), ("layer_norm(lstm_one_bias, h)", 5)],
    ),
    "a state as long as the input": (
        {"cell": [accumulates, cells.gru, accumulates], "hidden_size": 5},
        ("h_l0", "h_l1", "h_l2"),
        [("accumulates", 5), ("gru", 5), ("accumulates", 5)],
    ),
}


def build(case: str, **options: Any) -> ur.Recurrent:
    return ur.Recurrent(input_size=D, dtype=torch.float64, **STACKS[case][0], **options)


def drawn_states(layer: ur.Recurrent, n: int) -> tuple[Tensor, ...]:
    return tuple(random(*shape).requires_grad_() for shape in layer.state_shapes(n))


def by_hand(
    layer: ur.Recurrent, x: Tensor, states: Sequence[Tensor]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The plain loop of ``naive``, composed over layers and directions for [T, B, D]."""
    n = 2 if layer.bidirectional else 1
    together = not layer.state_names[0].endswith("_l0")
    finals: list[list[tuple[Tensor, ...]]] = []
    given = list(states)
    for k, of_layer in enumerate(layer.cells):
        outputs: list[Tensor] = []
        ours = states if together else [given.pop(0) for _ in of_layer.states]
        finals.append([])
        for d in range(n):
            suffix = f"_l{k}" + ("_reverse" if d else "")
            params = {name: getattr(layer, name + suffix) for name in of_layer.parameters}
            row = n * k + d if together else d
            initial = [s[row] for s in ours]
            y, final = naive.recurrence(of_layer, x.flip(0) if d else x, initial, params)
            outputs.append(y.flip(0) if d else y)
            finals[-1].append(final)
        x = torch.cat(outputs, -1)
    assert not given or together
    groups = [[row for rows in finals for row in rows]] if together else finals
    stacked = [torch.stack(s) for group in groups for s in zip(*group, strict=True)]
    return x, tuple(stacked)


@pytest.mark.parametrize("backend", ["reference", "cpu"])
@pytest.mark.parametrize("bidirectional", [False, True], ids=["forward", "both"])
@pytest.mark.parametrize("case", STACKS)
def test_equals_the_layers_by_hand(case: str, bidirectional: bool, backend: str) -> None:
    torch.manual_seed(2)
    layer = build(case, bidirectional=bidirectional, backend=backend)
    _, names, expected = STACKS[case]
    assert layer.state_names == names
    sizes = [given["H"] for given in layer.layer_sizes]
    assert [(c.name, n) for c, n in zip(layer.cells, sizes, strict=True)] == expected
    x = random(T, B, D).requires_grad_()
    states = drawn_states(layer, B)
    theirs = results(lambda: by_hand(layer, x, states), (x, *states), layer)
    ours = results(lambda: layer(x, states), (x, *states), layer)
    ours.assert_equal(theirs, rounding(layer.num_layers, T, B, theirs.magnitude))
    assert ours.values["y"].shape[-1] == layer.output_size
    zeros = tuple(torch.zeros_like(s) for s in states)
    assert torch.equal(layer(x)[0], layer(x, zeros)[0])


@pytest.mark.parametrize("case", STACKS)
def test_packed_and_single_sequences(case: str) -> None:
    layer = build(case, bidirectional=True, batch_first=True)
    padded = random(len(LENGTHS), max(LENGTHS), D)
    states = drawn_states(layer, len(LENGTHS))
    packed = pack_padded_sequence(padded, list(LENGTHS), batch_first=True, enforce_sorted=False)
    y, final = layer(packed, states)
    y, _ = pad_packed_sequence(y, batch_first=True)
    for i, length in enumerate(LENGTHS):
        alone, alone_final = layer(padded[i, :length], tuple(s[:, i] for s in states))
        bound = rounding(layer.num_layers, T, 1, y.abs().max().item())
        torch.testing.assert_close(y[i, :length], alone, rtol=0, atol=bound)
        for whole, part in zip(final, alone_final, strict=True):
            torch.testing.assert_close(whole[:, i], part, rtol=0, atol=bound)


def test_parameters_start_by_their_own_layers_width() -> None:
    layer = ur.Recurrent(cells.gru, 3, [100, 400])
    for k, width in enumerate((100, 400)):
        largest = layer.get_parameter(f"W_hh_l{k}").abs().max().item()
        assert 0.99 * width**-0.5 < largest <= width**-0.5


def test_it_is_copied_pickled_and_loaded() -> None:
    layer = build("cells and widths")
    x = random(T, B, D)
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(other(x)[0], layer(x)[0])
    other = build("cells and widths")
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x)[0], layer(x)[0])


def test_what_it_says_of_itself() -> None:
    layer = build("cells and widths")
    assert repr(layer) == ("Recurrent([gru, residual(gru, project=True)], 3, (5, 4), num_layers=2)")
    assert [g.name for g in layer.graphs()] == ["gru", "residual(gru, project=True)"]
    text = layer.explain()
    assert "layer 0 (D=3, H=5): backend" in text
    assert "layer 1 (D=5, H=4): backend" in text
    assert text.count("\nforward ") == 2
    with pytest.raises(ValueError) as caught:
        _ = layer.cell
    assert str(caught.value) == (
        "the layers have different cells (gru, residual(gru, project=True)): .cells has each"
    )
    assert ur.Recurrent(cells.gru, 3, [5, 4]).cell is cells.gru
    assert ur.Recurrent([cells.gru] * 2, 3, [5, 5]).hidden_size == 5


def test_states_that_are_refused() -> None:
    layer = ur.Recurrent([cells.gru, cells.lstm], 3, 5)
    x = torch.zeros(T, B, D)
    h = torch.zeros(1, B, 5)
    with pytest.raises(ValueError) as wrong_number:
        layer(x, (h, h))
    assert str(wrong_number.value) == (
        "Recurrent([gru, lstm]): expected 3 states (h_l0, h_l1, c_l1), got 2"
    )
    with pytest.raises(RuntimeError) as wrong_shape:
        layer(x, (h, h, torch.zeros(2, B, 5)))
    assert str(wrong_shape.value) == (
        "Expected state c_l1 size (1, 3, 5), got [2, 3, 5]; it is [directions, B, 5]"
    )
    with pytest.raises(RuntimeError) as wrong_form:
        layer(x[:, 0], (h[:, 0], h, h[:, 0]))
    assert str(wrong_form.value) == (
        "For unbatched 2-D input, state h_l1 should also be 2-D but got 3-D tensor; "
        "give [directions, 5]"
    )


@pytest.mark.parametrize("step", [cells.lstm, ur.residual(cells.lstm)])
def test_same_cells_are_as_one(step: Cell) -> None:
    torch.manual_seed(0)
    one = ur.Recurrent(step, 5, 5, 2)
    torch.manual_seed(0)
    listed = ur.Recurrent([step, step], 5, (5, 5))
    assert repr(one) == repr(listed)
    x = torch.randn(T, B, 5)
    assert torch.equal(one(x)[0], listed(x)[0])


def test_further_outputs_of_one_layer() -> None:
    layer = ur.Recurrent(
        [cells.lstm, cells.gru, cells.lstm], D, [5, 4, 6], bidirectional=True, dtype=torch.float64
    )
    x = random(T, B, D)
    y, _, found = layer(x, outputs=("c_l0", "h", "h_l1", "c_l2"))
    below = ur.Recurrent(cells.lstm, D, 5, bidirectional=True, dtype=torch.float64)
    below.load_state_dict({n: p for n, p in layer.state_dict().items() if "_l0" in n})
    _, _, expected = below(x, outputs=("c",))
    for ours, theirs in zip(found["c_l0"], expected["c"], strict=True):
        assert torch.equal(ours, theirs)
    assert [len(v) for v in found.values()] == [2, 6, 2, 2]
    for ours, theirs in zip(found["h_l1"], found["h"][2:4], strict=True):
        assert torch.equal(ours, theirs)
    assert [v.shape[-1] for v in found["c_l2"]] == [6, 6]
    assert torch.equal(torch.cat(found["h"][4:], -1), y)


def test_further_outputs_that_no_layer_has() -> None:
    layer = ur.Recurrent([cells.lstm, cells.gru], D, 5)
    with pytest.raises(ValueError, match=r"^gru has no 'c' to put out: expected one of "):
        layer(torch.randn(T, B, D), outputs=("c",))
    with pytest.raises(ValueError, match=r"^gru has no 'c' to put out: expected one of "):
        layer(torch.randn(T, B, D), outputs=("c_l1",))
    with pytest.raises(ValueError) as caught:
        layer(torch.randn(T, B, D), outputs=("h_l2",))
    assert str(caught.value) == "outputs: h_l2 is of layer 2, and the layers are 0 … 1"
