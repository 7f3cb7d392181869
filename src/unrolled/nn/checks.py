"""What the ``forward`` of a layer takes, and one clear sentence for all else.

Where ``torch.nn`` checks the same thing, the exception is of its type and has its words; what to do
comes after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from unrolled.backends import BACKENDS
from unrolled.nn.sequences import batch_size


@dataclass(frozen=True)
class StateGroup:
    """States whose tensors have as many rows: those of all layers, or of one.

    ``counted`` says in words what ``rows`` counts; ``states`` are each state's name in messages and
    its size.
    """

    rows: int
    counted: str
    states: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Interface:
    """The sizes that a layer's ``forward`` expects, and the words for them."""

    module: str
    input_size: int
    batch_first: bool
    groups: tuple[StateGroup, ...]

    def form(self, n_dims: int) -> str:
        """The expected shape of an input of so many dimensions."""
        names = ["T"] if n_dims == 2 else ["B", "T"] if self.batch_first else ["T", "B"]
        return f"[{', '.join([*names, str(self.input_size)])}]"


def zero_states(
    groups: Sequence[StateGroup], n_sequences: int | None, like: Tensor
) -> tuple[Tensor, ...]:
    """Zeros in the form of the groups' states, for a batch or (``None``) a single sequence."""
    batch = () if n_sequences is None else (n_sequences,)
    return tuple(
        like.new_zeros(group.rows, *batch, size) for group in groups for _, size in group.states
    )


def check_positive(name: str, value: object) -> int:
    """``value`` if it is an integer above zero, else ``TypeError`` or ``ValueError``."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"{name} must be greater than zero, got {value}")
    return value


def check_probability(name: str, value: object) -> float:
    """``value`` if it is a number in [0, 1], else ``ValueError``."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"{name} should be a number in range [0, 1], got {value!r}")
    return float(value)


def check_backend(value: str, *others: str) -> str:
    """``value`` if it is ``"auto"``, a backend's name or one of ``others``, else ``ValueError``."""
    names = ("auto", *others, *BACKENDS)
    if value not in names:
        raise ValueError(f"backend {value!r}: expected one of {', '.join(names)}")
    return value


def autocasts(x: Tensor) -> bool:
    """Whether ``torch.autocast`` is on where ``x`` is."""
    device = x.device.type
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def check_input(interface: Interface, x: object, weight: Tensor | None) -> Tensor | PackedSequence:
    """``x`` if it can be the input; ``weight`` has the dtype and device that it must have.

    ``TypeError`` for another type, ``ValueError`` for a wrong number of dimensions or dtype,
    ``RuntimeError`` for a wrong size or device, as ``torch.nn`` raises them.
    """
    name, size = interface.module, interface.input_size
    if not isinstance(x, (Tensor, PackedSequence)):
        raise TypeError(
            f"{name}: expected input to be a Tensor or a PackedSequence, got {describe(x)}; "
            f"give a Tensor {interface.form(3)}"
        )
    if isinstance(x, Tensor) and x.is_nested and x.layout is not torch.jagged:
        raise TypeError(
            f"{name}: a nested tensor must have the jagged layout: "
            "torch.nested.as_nested_tensor(list(x.unbind()), layout=torch.jagged)"
        )
    data = x.data if isinstance(x, PackedSequence) else x
    if not isinstance(x, PackedSequence) and x.dim() not in (2, 3):
        raise ValueError(
            f"{name}: Expected input to be 2D or 3D, got {x.dim()}D instead; "
            f"give {interface.form(3)}, or one sequence {interface.form(2)}"
        )
    if data.shape[-1] != size:
        shape = list(data.shape)
        expected = "packed [N, {}]" if isinstance(x, PackedSequence) else interface.form(x.dim())
        raise RuntimeError(
            f"input.size(-1) must be equal to input_size. Expected {size}, got {shape[-1]}; "
            f"{name} takes {expected.format(size)}, the input is {shape}"
        )
    padded = None if isinstance(x, PackedSequence) or x.is_nested else x
    if padded is not None and _steps(padded, interface.batch_first) == 0:
        raise RuntimeError(
            "Expected sequence length to be larger than 0 in RNN; "
            f"{name} takes {interface.form(data.dim())}, the input is {list(data.shape)}"
        )
    if weight is not None and data.device != weight.device:
        raise RuntimeError(
            "Input and parameter tensors are not at the same device, found input tensor at "
            f"{data.device} and parameter tensor at {weight.device}. Convert input: "
            f"input.to({str(weight.device)!r}), or move model: model.to({str(data.device)!r})"
        )
    if weight is not None and data.dtype != weight.dtype and not autocasts(data):
        advice = f"Convert input: input.to({weight.dtype})"
        if data.is_floating_point():
            advice += f", or convert model: model.to({data.dtype})"
        else:
            advice += ", or embed token numbers: torch.nn.Embedding"
        raise ValueError(
            f"RNN input dtype ({data.dtype}) does not match weight dtype ({weight.dtype}). {advice}"
        )
    return x


def check_forms(interface: Interface, x: Tensor | PackedSequence, lengths: object) -> None:
    """``ValueError`` for lengths of an input that has its own."""
    if lengths is not None and (isinstance(x, PackedSequence) or x.is_nested):
        form = "PackedSequence" if isinstance(x, PackedSequence) else "nested tensor"
        raise ValueError(
            f"{interface.module}: lengths are for a padded Tensor {interface.form(3)}; a {form} "
            "has its own"
        )


def check_states(
    interface: Interface, x: Tensor | PackedSequence, states: Sequence[Tensor]
) -> None:
    """``RuntimeError`` for a state of wrong size or device, ``ValueError`` for a wrong dtype.

    ``x`` is an input that :func:`check_input` let through.
    """
    data = x.data if isinstance(x, PackedSequence) else x
    batched = isinstance(x, PackedSequence) or x.dim() == 3
    batch = (batch_size(x, batch_first=interface.batch_first),) if batched else ()
    forms = [(group, *state) for group in interface.groups for state in group.states]
    for state, (group, label, size) in zip(states, forms, strict=True):
        expected = (group.rows, *batch, size)
        form = f"[{', '.join([group.counted, *['B'] * batched, str(size)])}]"
        if state.dim() != len(expected):
            given = "batched 3-D" if batched else "unbatched 2-D"
            raise RuntimeError(
                f"For {given} input, {label} should also be {len(expected)}-D "
                f"but got {state.dim()}-D tensor; give {form}"
            )
        if state.shape != expected:
            raise RuntimeError(
                f"Expected {label} size {expected}, got {list(state.shape)}; it is {form}"
            )
        if state.device != data.device:
            raise RuntimeError(
                f"Input and hidden tensors are not at the same device, found input tensor at "
                f"{data.device} and hidden tensor at {state.device}. "
                f"Convert {label}: .to({str(data.device)!r})"
            )
        if state.dtype != data.dtype and not autocasts(data):
            raise ValueError(
                f"{interface.module}: {label} dtype ({state.dtype}) does not match input dtype "
                f"({data.dtype}). Convert {label}: .to({data.dtype})"
            )


def _steps(x: Tensor, batch_first: bool) -> int:
    return x.shape[1 if batch_first and x.dim() == 3 else 0]


def describe(value: object) -> str:
    """The type of a value in words: ``a Tensor``, ``a tuple of 3 Tensors``."""
    if isinstance(value, (tuple, list)) and value:
        return f"{_a(type(value))} of {len(value)} {type(value[0]).__name__}s"
    return "None" if value is None else _a(type(value))


def _a(kind: type) -> str:
    return f"{'an' if kind.__name__[0].lower() in 'aeiou' else 'a'} {kind.__name__}"
