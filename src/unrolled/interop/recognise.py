"""Which modules can be exchanged for the other library's, and why the others can't.

Only a module whose class is exactly torch's (or ours) is sure to compute what the class says: a
subclass, a quantized or a scripted module, or one whose ``forward`` was replaced may do anything.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils.parametrize import type_before_parametrizations

from unrolled.nn import GRU, LSTM, RNN, Recurrent

LAYERS: dict[str, type[nn.RNNBase]] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
"""Torch's own modules over sequences, by their names."""

REPLACEMENTS: dict[type[nn.RNNBase], type[RNN | GRU | LSTM]] = {
    nn.RNN: RNN,
    nn.GRU: GRU,
    nn.LSTM: LSTM,
}
"""Ours for each of torch's."""

ORIGINALS: dict[type[nn.RNNBase], type[nn.RNNBase]] = {o: t for t, o in REPLACEMENTS.items()}
"""Torch's for each of ours."""

SINGLE_STEPS: dict[type[nn.Module], str] = {
    nn.RNNCell: "RNN",
    nn.GRUCell: "GRU",
    nn.LSTMCell: "LSTM",
}
"""Torch's modules of one time step, and the name of the layer that runs the loop around it."""

_OURS = (RNN, GRU, LSTM, Recurrent)
_NAMES = {*LAYERS, *(kind.__name__ for kind in SINGLE_STEPS)}


def is_recurrent(module: nn.Module) -> bool:
    """Whether a module is recurrent: torch's, derived from it, compiled or quantized, or ours."""
    if isinstance(module, (nn.RNNBase, nn.RNNCellBase, *_OURS)):
        return True
    return (_is_scripted(module) or _is_quantized(module)) and _name(module) in _NAMES


def is_single_step(module: object) -> bool:
    """Whether ``module`` is torch's own RNNCell, GRUCell or LSTMCell."""
    return isinstance(module, nn.Module) and type_before_parametrizations(module) in SINGLE_STEPS


def refusal(module: object) -> str | None:
    """Why ``module`` can't run as ours; ``None`` where it is torch's own RNN, GRU or LSTM."""
    if not isinstance(module, nn.Module):
        return f"expected a module of torch.nn, got {article(type(module).__name__)}"
    kind, name = type_before_parametrizations(module), _name(module)
    if _is_scripted(module):
        return f"{name} was compiled by torch.jit; convert the module before it is scripted"
    if _is_quantized(module):
        return (
            f"{name} of {type(module).__module__} is made for quantization, and ours computes in "
            "floating point; convert the float module instead"
        )
    if isinstance(module, _OURS):
        return f"{name} is one of Unrolled's already"
    if kind in SINGLE_STEPS:
        return (
            f"{name} is one step of a loop that the model's own code runs, and for one step "
            "torch's kernel is the faster; ur.from_torch(cell) is the "
            f"{SINGLE_STEPS[kind]} that runs the loop as well"
        )
    if kind not in REPLACEMENTS:
        return _stranger(module, "torch.nn.", "unrolled.")
    return replaced_forward(module)


def refusal_back(module: object) -> str | None:
    """Why ``module`` can't run as torch's; ``None`` where it is our own RNN, GRU or LSTM."""
    if not isinstance(module, nn.Module):
        return f"expected a module of unrolled, got {article(type(module).__name__)}"
    if type_before_parametrizations(module) is Recurrent:
        return (
            "Recurrent names its parameters as its cell does, and takes and returns its states as "
            "a tuple; put ur.to_torch(module) in its place and adapt the call"
        )
    if type_before_parametrizations(module) not in ORIGINALS:
        return _stranger(module, "unrolled.", "torch.nn.")
    return replaced_forward(module)


def replaced_forward(module: nn.Module) -> str | None:
    """Why a module whose ``forward`` is no longer its class's can't be exchanged."""
    if "forward" not in vars(module):
        return None
    return f"the forward of this {_name(module)} was replaced; remove the new one first"


def article(name: str) -> str:
    """``name`` with its article: an LSTM, a GRU."""
    vowel = name[:1].lower() in "aeiou" or name.startswith(("LSTM", "RNN"))
    return f"{'an' if vowel else 'a'} {name}"


def _stranger(module: nn.Module, own: str, other: str) -> str:
    name = type_before_parametrizations(module).__name__
    theirs = own == "torch.nn."
    bases = (*REPLACEMENTS, *SINGLE_STEPS) if theirs else (*ORIGINALS, Recurrent)
    base = next((kind.__name__ for kind in bases if isinstance(module, kind)), None)
    if base is None:
        kinds = ", ".join(f"{own}{kind.__name__}" for kind in bases)
        whole = "ur.convert" if theirs else "ur.revert"
        return f"expected one of {kinds}, got {article(name)}; {whole} takes a whole model"
    if base in LAYERS:
        advice = f"derive it from {other}{base}"
    else:
        advice = f"give {article(base)} with its parameters"
    return f"{name} is a subclass of {own}{base}, whose methods may differ; {advice} instead"


def _is_scripted(module: nn.Module) -> bool:
    return isinstance(module, torch.jit.ScriptModule)


def _is_quantized(module: nn.Module) -> bool:
    return type(module).__module__.startswith(("torch.ao.nn.", "torch.nn.quantiz"))


def _name(module: nn.Module) -> str:
    """The name of the module's class; of a scripted one, of the class that was scripted."""
    if _is_scripted(module):
        return str(getattr(module, "original_name", type(module).__name__))
    return type_before_parametrizations(module).__name__
