"""``Recurrent``: what it can't be built of, and what it can't take."""

import re
from typing import Any

import pytest
import torch
from torch import Tensor, tanh

import unrolled.nn as un
from layer_samples import B, D, H, T
from unrolled import CellError, cell, param
from unrolled.cells import elman_output, gru, lstm


def z(*shape: int, **options: Any) -> Tensor:
    return torch.zeros(*shape, **options)


X = (T, B, D)
CALLS: dict[str, tuple[tuple[Any, ...], type[Exception], str]] = {
    "input of 4 dimensions": (
        (z(1, *X),),
        ValueError,
        "Recurrent(lstm): Expected input to be 2D or 3D, got 4D instead; "
        "give [T, B, 3], or one sequence [T, 3]",
    ),
    "input of another size": (
        (z(T, B, 4),),
        RuntimeError,
        "input.size(-1) must be equal to input_size. Expected 3, got 4; "
        "Recurrent(lstm) takes [T, B, 3], the input is [7, 3, 4]",
    ),
    "a bare state for two": (
        (z(*X), z(1, B, H)),
        TypeError,
        "Recurrent(lstm): expected state to be a tuple of Tensors (h, c), got a Tensor",
    ),
    "one state for two": (
        (z(*X), (z(1, B, H),)),
        ValueError,
        "Recurrent(lstm): expected 2 states (h, c), got 1",
    ),
    "a state of another batch": (
        (z(*X), (z(1, B, H), z(1, 1, H))),
        RuntimeError,
        "Expected state c size (1, 3, 5), got [1, 1, 5]; it is [layers * directions, B, 5]",
    ),
    "a state of another dtype": (
        (z(*X), (z(1, B, H, dtype=torch.float64), z(1, B, H))),
        ValueError,
        "Recurrent(lstm): state h dtype (torch.float64) does not match input dtype "
        "(torch.float32). Convert state h: .to(torch.float32)",
    ),
    "an input of another dtype": (
        (z(*X, dtype=torch.float64),),
        ValueError,
        "RNN input dtype (torch.float64) does not match weight dtype (torch.float32). "
        "Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)",
    ),
    "an input on another device": (
        (z(*X, device="meta"),),
        RuntimeError,
        "Input and parameter tensors are not at the same device, found input tensor at meta and "
        "parameter tensor at cpu. Convert input: input.to('cpu'), or move model: model.to('meta')",
    ),
}


@pytest.mark.parametrize("case", CALLS)
def test_calls_that_are_refused(case: str) -> None:
    arguments, kind, text = CALLS[case]
    with pytest.raises(kind) as caught:
        un.Recurrent(lstm, D, H)(*arguments)
    assert str(caught.value) == text


BUILDS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "no cell": ({"cell": tanh}, TypeError, "expected a cell, got"),
    "hidden size 0": (
        {"hidden_size": 0},
        ValueError,
        "hidden_size must be greater than zero, got 0",
    ),
    "layers as a float": (
        {"num_layers": 1.0},
        TypeError,
        "num_layers should be of type int, got: float",
    ),
    "dropout above 1": (
        {"dropout": 2},
        ValueError,
        "dropout should be a number in range [0, 1], got 2",
    ),
    "unknown backend": (
        {"backend": "gpu"},
        ValueError,
        "backend 'gpu': expected one of auto, cpu, cpu_invariant, reference",
    ),
    "D among the sizes": (
        {"sizes": {"D": 3}},
        CellError,
        "sizes={'D': 3}: cell lstm has no size D to be given",
    ),
    "a size that the cell does not have": (
        {"sizes": {"Q": 3}},
        CellError,
        "its sizes are D, H; D is input_size and H hidden_size",
    ),
    "a size that is missing": (
        {"cell": elman_output},
        CellError,
        "cell elman_output: the size O of W_hy is not declared",
    ),
    "a size that no layer's cell has": (
        {"cell": (lstm, gru), "sizes": {"P": 3}},
        CellError,
        "sizes={'P': 3}: cell lstm, gru has no size P to be given",
    ),
    "fewer cells than layers": (
        {"cell": [lstm, lstm], "num_layers": 3},
        ValueError,
        "give one for each layer, or one for all: num_layers for 3 and cell for 2 layers",
    ),
    "more widths than cells": (
        {"cell": [lstm, lstm], "hidden_size": [5, 6, 7]},
        ValueError,
        "give one for each layer, or one for all: cell for 2 and hidden_size for 3 layers",
    ),
    "no cells": ({"cell": []}, ValueError, "cell is empty, expected one for each layer"),
    "a width that is none": (
        {"hidden_size": (5, 0)},
        ValueError,
        "hidden_size must be greater than zero, got 0",
    ),
    "a cell that is none": ({"cell": [lstm, tanh]}, TypeError, "expected a cell, got"),
}


@pytest.mark.parametrize("case", BUILDS)
def test_layers_that_can_not_be_built(case: str) -> None:
    arguments, kind, text = BUILDS[case]
    make: Any = un.Recurrent
    with pytest.raises(kind, match=re.escape(text)):
        make(**{"cell": lstm, "input_size": D, "hidden_size": H, **arguments})


def test_an_init_that_says_nothing() -> None:
    @cell
    def odd(x, h, *, W=param("H", "D", init="orthogonal")):
        return tanh(W @ x + h)

    with pytest.raises(ValueError, match="init='orthogonal' says nothing"):
        un.Recurrent(odd, D, H)


def test_dropout_in_one_layer_warns() -> None:
    with pytest.warns(UserWarning, match="dropout=0.5 does nothing") as caught:
        un.Recurrent(lstm, D, H, dropout=0.5)
    assert caught[0].filename == __file__
