"""What a drop-in can't take: one clear sentence, the same from every backend."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import unrolled.nn as un
from layer_samples import B, D, H, T
from unrolled.backends import BACKENDS as BUILT_IN

BACKENDS = ("auto", "torch", "reference")


def z(*shape: int, **options: Any) -> torch.Tensor:
    return torch.zeros(*shape, **options)


def packed(**options: Any) -> PackedSequence:
    return pack_sequence([z(4, D, **options), z(2, D, **options)])


X = (T, B, D)
BOTH: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "another type": (
        lambda m: m([[1.0]]),
        TypeError,
        "{name}: expected input to be a Tensor or a PackedSequence, got a list of 1 lists; "
        "give a Tensor [T, B, 3]",
    ),
    "4 dimensions": (
        lambda m: m(z(1, *X)),
        ValueError,
        "{name}: Expected input to be 2D or 3D, got 4D instead; "
        "give [T, B, 3], or one sequence [T, 3]",
    ),
    "1 dimension": (
        lambda m: m(z(D)),
        ValueError,
        "{name}: Expected input to be 2D or 3D, got 1D instead; "
        "give [T, B, 3], or one sequence [T, 3]",
    ),
    "features": (
        lambda m: m(z(T, B, 4)),
        RuntimeError,
        "input.size(-1) must be equal to input_size. Expected 3, got 4; "
        "{name} takes [T, B, 3], the input is [7, 3, 4]",
    ),
    "features, unbatched": (
        lambda m: m(z(T, 4)),
        RuntimeError,
        "input.size(-1) must be equal to input_size. Expected 3, got 4; "
        "{name} takes [T, 3], the input is [7, 4]",
    ),
    "features, packed": (
        lambda m: m(pack_sequence([z(4, 2), z(2, 2)])),
        RuntimeError,
        "input.size(-1) must be equal to input_size. Expected 3, got 2; "
        "{name} takes packed [N, 3], the input is [6, 2]",
    ),
    "no steps": (
        lambda m: m(z(0, B, D)),
        RuntimeError,
        "Expected sequence length to be larger than 0 in RNN; "
        "{name} takes [T, B, 3], the input is [0, 3, 3]",
    ),
    "no steps, unbatched": (
        lambda m: m(z(0, D)),
        RuntimeError,
        "Expected sequence length to be larger than 0 in RNN; "
        "{name} takes [T, 3], the input is [0, 3]",
    ),
    "integers": (
        lambda m: m(z(*X, dtype=torch.int64)),
        ValueError,
        "RNN input dtype (torch.int64) does not match weight dtype (torch.float32). "
        "Convert input: input.to(torch.float32), or embed token numbers: torch.nn.Embedding",
    ),
    "another float": (
        lambda m: m(z(*X, dtype=torch.float64)),
        ValueError,
        "RNN input dtype (torch.float64) does not match weight dtype (torch.float32). "
        "Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)",
    ),
    "another float, packed": (
        lambda m: m(packed(dtype=torch.float64)),
        ValueError,
        "RNN input dtype (torch.float64) does not match weight dtype (torch.float32). "
        "Convert input: input.to(torch.float32), or convert model: model.to(torch.float64)",
    ),
    "another device": (
        lambda m: m(z(*X, device="meta")),
        RuntimeError,
        "Input and parameter tensors are not at the same device, found input tensor at meta and "
        "parameter tensor at cpu. Convert input: input.to('cpu'), or move model: model.to('meta')",
    ),
}

ONE_STATE: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "state is a tuple": (
        lambda m: m(z(*X), (z(1, B, H), z(1, B, H))),
        TypeError,
        "{name}: expected hx to be a Tensor h_0, got a tuple of 2 Tensors",
    ),
    "state of 2 dimensions": (
        lambda m: m(z(*X), z(1, H)),
        RuntimeError,
        "For batched 3-D input, hidden should also be 3-D but got 2-D tensor; "
        "give [layers * directions, B, 5]",
    ),
    "state of 3 dimensions, unbatched": (
        lambda m: m(z(T, D), z(1, 1, H)),
        RuntimeError,
        "For unbatched 2-D input, hidden should also be 2-D but got 3-D tensor; "
        "give [layers * directions, 5]",
    ),
    "state of another batch": (
        lambda m: m(z(*X), z(1, B + 1, H)),
        RuntimeError,
        "Expected hidden size (1, 3, 5), got [1, 4, 5]; it is [layers * directions, B, 5]",
    ),
    "state of another size, unbatched": (
        lambda m: m(z(T, D), z(1, H + 1)),
        RuntimeError,
        "Expected hidden size (1, 5), got [1, 6]; it is [layers * directions, 5]",
    ),
    "state of another batch, packed": (
        lambda m: m(packed(), z(1, 1, H)),
        RuntimeError,
        "Expected hidden size (1, 2, 5), got [1, 1, 5]; it is [layers * directions, B, 5]",
    ),
    "state of another float": (
        lambda m: m(z(*X), z(1, B, H, dtype=torch.float64)),
        ValueError,
        "{name}: hidden dtype (torch.float64) does not match input dtype (torch.float32). "
        "Convert hidden: .to(torch.float32)",
    ),
    "state on another device": (
        lambda m: m(z(*X), z(1, B, H, device="meta")),
        RuntimeError,
        "Input and hidden tensors are not at the same device, found input tensor at cpu and "
        "hidden tensor at meta. Convert hidden: .to('cpu')",
    ),
}

TWO_STATES: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "bare state": (
        lambda m: m(z(*X), z(1, B, H)),
        TypeError,
        "LSTM: expected hx to be a tuple (h_0, c_0), got a Tensor",
    ),
    "one state": (
        lambda m: m(z(*X), (z(1, B, H),)),
        TypeError,
        "LSTM: expected hx to be a tuple (h_0, c_0) of 2 Tensors, got a tuple of 1 Tensors",
    ),
    "three states": (
        lambda m: m(z(*X), (z(1, B, H),) * 3),
        TypeError,
        "LSTM: expected hx to be a tuple (h_0, c_0) of 2 Tensors, got a tuple of 3 Tensors",
    ),
    "state without batch": (
        lambda m: m(z(*X), (z(1, B, H), z(1, H))),
        RuntimeError,
        "For batched 3-D input, hidden[1] should also be 3-D but got 2-D tensor; "
        "give [layers * directions, B, 5]",
    ),
    "second state of another size": (
        lambda m: m(z(*X), (z(1, B, H), z(1, B, H + 1))),
        RuntimeError,
        "Expected hidden[1] size (1, 3, 5), got [1, 3, 6]; it is [layers * directions, B, 5]",
    ),
    "states of another batch, packed": (
        lambda m: m(packed(), (z(1, 1, H), z(1, 1, H))),
        RuntimeError,
        "Expected hidden[0] size (1, 2, 5), got [1, 1, 5]; it is [layers * directions, B, 5]",
    ),
    "second state of another float": (
        lambda m: m(z(*X), (z(1, B, H), z(1, B, H, dtype=torch.float64))),
        ValueError,
        "LSTM: hidden[1] dtype (torch.float64) does not match input dtype (torch.float32). "
        "Convert hidden[1]: .to(torch.float32)",
    ),
}


def refuses(
    module: nn.Module, call: Callable[[Any], Any], kind: type[Exception], text: str
) -> None:
    with pytest.raises(kind) as caught:
        call(module)
    assert str(caught.value) == text.format(name=type(module).__name__)
    assert type(caught.value) is kind
    # The user sees one error, not a chain of two.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", BOTH)
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_input(name: str, case: str, backend: str) -> None:
    refuses(getattr(un, name)(D, H, backend=backend), *BOTH[case])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", ONE_STATE)
@pytest.mark.parametrize("name", ["RNN", "GRU"])
def test_state(name: str, case: str, backend: str) -> None:
    refuses(getattr(un, name)(D, H, backend=backend), *ONE_STATE[case])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", TWO_STATES)
def test_states_of_lstm(case: str, backend: str) -> None:
    refuses(un.LSTM(D, H, backend=backend), *TWO_STATES[case])


@pytest.mark.parametrize("backend", BACKENDS)
def test_messages_follow_batch_first(backend: str) -> None:
    module = un.GRU(D, H, batch_first=True, backend=backend)
    message = re.escape("GRU takes [B, T, 3], the input is [7, 3, 4]")
    with pytest.raises(RuntimeError, match=message):
        module(z(T, B, 4))


def test_errors_that_the_input_is_not_to_blame_for_stay_torchs() -> None:
    errors: list[Exception] = []
    for module in (un.GRU(D, H), nn.GRU(D, H)):
        module.weight_ih_l0 = nn.Parameter(z(3 * H, D + 1))
        with pytest.raises(RuntimeError) as caught:
            module(z(*X))
        errors.append(caught.value)
    ours, theirs = errors
    assert str(ours) == str(theirs)
    assert ours.__context__ is None


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ({"hidden_size": 0}, ValueError, "hidden_size must be greater than zero"),
        ({"input_size": 2.5}, TypeError, "input_size should be of type int, got: float"),
        ({"bias": 1}, TypeError, "bias should be of type bool, got: int"),
        ({"proj_size": 9}, ValueError, "proj_size has to be smaller than hidden_size"),
        (
            {"backend": "gpu"},
            ValueError,
            f"backend 'gpu': expected one of auto, torch, {', '.join(BUILT_IN)}",
        ),
    ],
)
def test_arguments(arguments: dict[str, Any], kind: type[Exception], text: str) -> None:
    make: Any = un.LSTM
    with pytest.raises(kind, match=re.escape(text)):
        make(**{"input_size": D, "hidden_size": H, **arguments})


def test_unknown_nonlinearity() -> None:
    with pytest.raises(ValueError, match="Unknown nonlinearity 'sigmoid'"):
        un.RNN(D, H, nonlinearity="sigmoid")


def test_dropout_in_one_layer_warns() -> None:
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        un.LSTM(D, H, dropout=0.5)
