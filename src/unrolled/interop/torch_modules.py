"""``from_torch`` and ``to_torch``: one recurrent module as the other library's, nothing copied.

Both give a new module that holds the very same ``Parameter`` objects under torch's names, so an
optimizer that was built on one goes on training the other.  What belongs to the module itself, its
hooks and parametrizations, can't be in two places: such a module is refused, and
:func:`unrolled.convert` turns it into ours where it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast, overload

import torch
from torch import nn
from torch.nn.parameter import Parameter
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from unrolled.cells import elman, gru, lstm, lstm_one_bias, lstm_projected, rnn
from unrolled.interop.recognise import (
    LAYERS,
    REPLACEMENTS,
    SINGLE_STEPS,
    is_single_step,
    refusal,
    refusal_back,
    replaced_forward,
)
from unrolled.nn import GRU, LSTM, RNN, Recurrent
from unrolled.nn.torch_cells import TORCH_NAMES

FORMS: dict[Callable[..., Any], tuple[str, Mapping[str, str]]] = {
    rnn.function: ("RNN", TORCH_NAMES),
    elman.function: ("RNN", {"W_xh": "weight_ih", "W_hh": "weight_hh", "b_h": "bias_ih"}),
    gru.function: ("GRU", TORCH_NAMES),
    lstm.function: ("LSTM", TORCH_NAMES),
    lstm_one_bias.function: ("LSTM", {"W": "weight_ih", "U": "weight_hh", "b": "bias_ih"}),
    lstm_projected.function: ("LSTM", TORCH_NAMES),
}
"""Our cells whose equations torch has: the module, and what it calls their parameters."""


@dataclass(frozen=True)
class _Stack:
    """A stack of layers in torch's words.

    ``parameters`` stand under torch's names.  ``absent`` are those of torch's that our cell doesn't
    have, without their layers, and the number that stands in its equations instead.
    """

    kind: str
    options: Mapping[str, Any]
    dropout: float
    parameters: Mapping[str, Parameter]
    training: bool
    absent: Mapping[str, float]


@overload
def from_torch(module: nn.RNN | nn.RNNCell, backend: str = "auto") -> RNN: ...
@overload
def from_torch(module: nn.GRU | nn.GRUCell, backend: str = "auto") -> GRU: ...
@overload
def from_torch(module: nn.LSTM | nn.LSTMCell, backend: str = "auto") -> LSTM: ...
def from_torch(module: nn.Module, backend: str = "auto") -> RNN | GRU | LSTM:
    """``torch.nn``'s ``RNN``, ``GRU``, ``LSTM`` or the cell of one, as ours.

    The new module has the same arguments, the same ``Parameter`` objects and the same training
    mode; ``backend`` is that of :class:`unrolled.LSTM`.

    A cell becomes the layer that runs the loop around it: ``from_torch(nn.LSTMCell(D, H))`` is
    an ``unrolled.LSTM(D, H)`` whose ``weight_ih_l0`` is the cell's ``weight_ih``.  Only a loop can
    be made faster: for one step torch's own kernel is the faster (see ``nn.choice``), and a cell of
    ours with torch's signature could do no more than call it.

    Raises ``TypeError`` for any other module (a subclass, a quantized or a scripted one), and
    ``ValueError`` where it has hooks, parametrizations or parameters that torch's doesn't have.
    """
    single = is_single_step(module)
    reason = replaced_forward(module) if single else refusal(module)
    if reason is not None:
        raise TypeError(f"from_torch: {reason}")
    _check_own(module, "from_torch", None if single else "ur.convert(model)")
    stack = _of_single_step(module) if single else _of_layers(module)
    kind = REPLACEMENTS[LAYERS[stack.kind]]
    return cast("RNN | GRU | LSTM", _built(kind, stack, {"backend": backend}, "from_torch"))


def to_torch(module: RNN | GRU | LSTM | Recurrent) -> nn.RNNBase:
    """``torch.nn``'s module of the same equations, with the same ``Parameter`` objects.

    Takes ``unrolled.RNN``, ``GRU`` and ``LSTM``, and a ``Recurrent`` of ``rnn`` (tanh or relu),
    ``elman``, ``gru``, ``lstm``, ``lstm_one_bias`` or ``lstm_projected``.  Torch has two biases or
    none: where the cell has one, or holds one at a number, the other is a parameter that does not
    train, so the module goes on learning as ours does.  A ``Recurrent`` takes and returns its
    states as a tuple; torch's ``RNN`` and ``GRU`` the bare tensor.

    Raises ``TypeError`` for any other module, and ``ValueError`` for another cell, or where the
    module has hooks, parametrizations or parameters that torch's doesn't have.
    """
    any_cell = type_before_parametrizations(module) is Recurrent
    reason = replaced_forward(module) if any_cell else refusal_back(module)
    if reason is not None:
        raise TypeError(f"to_torch: {reason}")
    _check_own(module, "to_torch", None if any_cell else "ur.revert(model)")
    stack = _of_recurrent(module) if isinstance(module, Recurrent) else _of_layers(module)
    return _built(LAYERS[stack.kind], stack, {}, "to_torch")


def _of_layers(module: Any) -> _Stack:
    kind, _, nonlinearity = module.mode.partition("_")
    options = _options(module) | {"bias": module.bias}
    if kind == "RNN":
        options["nonlinearity"] = nonlinearity.lower()
    if kind == "LSTM":
        options["proj_size"] = module.proj_size
    return _Stack(kind, options, module.dropout, _parameters(module), module.training, {})


def _of_single_step(module: Any) -> _Stack:
    kind = SINGLE_STEPS[type(module)]
    names = ("input_size", "hidden_size", "bias", *(("nonlinearity",) if kind == "RNN" else ()))
    options = {name: getattr(module, name) for name in names}
    parameters = {f"{name}_l0": p for name, p in _parameters(module).items()}
    return _Stack(kind, options, 0.0, parameters, module.training, {})


def _of_recurrent(module: Recurrent) -> _Stack:
    if len(set(module.cells)) > 1:
        raise ValueError(
            f"to_torch: the layers have different cells ({', '.join(c.name for c in module.cells)})"
            ", and torch.nn's modules have one: give each layer a Recurrent of its own"
        )
    cell = module.cell
    nonlinearity = cell.options.get("nonlinearity", "tanh")
    if cell.function not in FORMS or nonlinearity not in ("tanh", "relu"):
        chosen = f" with nonlinearity={nonlinearity!r}" if cell.function in FORMS else ""
        loaded = ", whose equations come from a file" if cell.graphs else ""
        raise ValueError(
            f"to_torch: torch.nn has no module of cell {cell.name}{chosen}{loaded}; it has those "
            "of unrolled.cells' rnn and elman (with tanh or relu), gru, lstm, lstm_one_bias and "
            "lstm_projected"
        )
    if not isinstance(module.hidden_size, int):
        raise ValueError("to_torch: torch.nn's modules have one hidden size for all layers")
    if module.learn_initial:
        raise ValueError("to_torch: learn_initial=True, and torch.nn's modules begin with zeros")
    kind, names = FORMS[cell.function]
    absent = {} if "b_hh" in names else {"bias_hh": 0.0}
    absent |= {names[n]: float(spec.init) for n, spec in cell.held.items()}  # pyright: ignore[reportArgumentType]
    parameters: dict[str, Parameter] = {}
    for name, p in _parameters(module).items():
        ours, _, layer = name.rpartition("_l")
        parameters[f"{names.get(ours, ours)}_l{layer}"] = p
    trained = any(name.startswith("bias") for name in parameters)
    options = _options(module) | {"bias": trained or any(absent.values())}
    if kind == "RNN":
        options["nonlinearity"] = nonlinearity
    if kind == "LSTM":
        options["proj_size"] = module.layer_sizes[0].get("P", 0)
    return _Stack(kind, options, module.dropout, parameters, module.training, absent)


def _options(module: Any) -> dict[str, Any]:
    names = ("input_size", "hidden_size", "num_layers", "batch_first", "bidirectional")
    return {name: getattr(module, name) for name in names}


def _parameters(module: nn.Module) -> dict[str, Parameter]:
    # Weights that are tied within a module have two names.
    return dict(module.named_parameters(remove_duplicate=False))


def _check_own(module: nn.Module, function: str, in_place: str | None) -> None:
    """``ValueError`` where the module has what can't be in two modules at once."""
    if is_parametrized(module):
        what = "parametrizations"
    elif any(hooks for name, hooks in vars(module).items() if name.endswith("_hooks")):
        what = "hooks"
    elif next(module.buffers(), None) is not None:
        what = "buffers"
    else:
        return
    advice = "remove them first"
    if in_place is not None:
        advice += f", or use {in_place}, which keeps the module and all that is tied to it"
    raise ValueError(
        f"{function}: this {type(module).__name__} has {what}, which can't go along "
        f"with its parameters into another module; {advice}"
    )


def _built(
    kind: type[nn.RNNBase], stack: _Stack, more: Mapping[str, Any], function: str
) -> nn.RNNBase:
    # On the meta device no memory is taken and no random number drawn for what is replaced.
    module: Any = kind(**stack.options, **more, device="meta")  # pyright: ignore[reportArgumentType]
    # Given later, as one layer with dropout warns, and has warned before.
    module.dropout = stack.dropout
    expected = dict(module.named_parameters())
    absent = {name: stack.absent.get(name.rpartition("_l")[0]) for name in expected}
    named = {name for name in expected if name in stack.parameters or absent[name] is not None}
    if not stack.parameters or not named == {*expected} >= {*stack.parameters}:
        raise ValueError(
            f"{function}: expected the parameters {', '.join(expected)}, "
            f"got {', '.join(stack.parameters) or 'none'}"
        )
    like = next(iter(stack.parameters.values()))
    for name, placeholder in expected.items():
        given = stack.parameters.get(name)
        if given is None:
            values = torch.full_like(
                placeholder, absent[name] or 0.0, dtype=like.dtype, device=like.device
            )
            given = Parameter(values, requires_grad=False)
        setattr(module, name, given)
    return module.train(stack.training)
