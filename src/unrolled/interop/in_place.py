"""``convert`` and ``revert``: torch's recurrent modules within a model, and ours, where they stand.

Our ``RNN``, ``GRU`` and ``LSTM`` are subclasses of torch's with one attribute more, so a module is
exchanged by giving it another class, as torch's own parametrizations do.  All else stays because
the object does: its parameters, its hooks and their handles, its parametrizations, its names,
every reference to it (a module under two names remains one), and so optimizers, ``state_dict`` and
wrappers around the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.nn.utils.parametrize import is_parametrized, type_before_parametrizations

from unrolled.interop.recognise import (
    ORIGINALS,
    REPLACEMENTS,
    article,
    is_recurrent,
    refusal,
    refusal_back,
)
from unrolled.nn import GRU, LSTM, RNN, Recurrent, stock
from unrolled.nn.checks import check_backend


@dataclass(frozen=True)
class Conversion:
    """What was done to a model: the modules by their dotted names, ``""`` for the model itself.

    A module of several names stands under the first.  ``left`` says of each recurrent module that
    was not replaced why, and what to do.
    """

    replaced: tuple[str, ...]
    left: Mapping[str, str]

    def __str__(self) -> str:
        names = ", ".join(name or "the model itself" for name in self.replaced)
        lines = [f"replaced: {names or 'nothing'}"]
        if self.left:
            lines.append("left as they are:")
            lines += [f"  {n or 'the model itself'}: {why}" for n, why in self.left.items()]
        return "\n".join(lines)


def convert(model: nn.Module, backend: str = "auto") -> Conversion:
    """Turn every ``torch.nn.RNN``, ``GRU`` and ``LSTM`` in ``model`` into ours, in place.

    The modules stay the same objects, with all that is tied to them; ``backend`` is that of
    :class:`unrolled.LSTM`.  Subclasses, single cells, quantized and scripted modules are left as
    they are, and what is returned says so.  Convert before ``torch.jit.script`` and
    quantization, which look for torch's own classes; :func:`revert` gives those back.

    Raises ``TypeError`` where ``model`` is no module, and ``ValueError`` for an unknown backend.
    """
    check_backend(backend, stock.NAME)

    def become_ours(module: nn.Module) -> None:
        _set_class(module, REPLACEMENTS)
        module.backend = backend  # pyright: ignore[reportArgumentType]

    return _each(model, "convert", is_recurrent, refusal, become_ours)


def revert(model: nn.Module) -> Conversion:
    """Turn every ``unrolled.RNN``, ``GRU`` and ``LSTM`` in ``model`` into torch's, in place.

    The mirror of :func:`convert`, also for a model that was built of ours.  It is a function of its
    own, as a backend has no meaning this way.  Subclasses and ``Recurrent`` are left as they are,
    and what is returned says so.

    Raises ``TypeError`` where ``model`` is no module.
    """

    def become_torchs(module: nn.Module) -> None:
        _set_class(module, ORIGINALS)
        del module.backend

    def is_ours(module: nn.Module) -> bool:
        return isinstance(module, (RNN, GRU, LSTM, Recurrent))

    return _each(model, "revert", is_ours, refusal_back, become_torchs)


def _each(
    model: nn.Module,
    function: str,
    concerns: Callable[[nn.Module], bool],
    why_not: Callable[[nn.Module], str | None],
    change: Callable[[nn.Module], None],
) -> Conversion:
    if not isinstance(model, nn.Module):
        raise TypeError(
            f"{function}: expected a torch.nn.Module, got {article(type(model).__name__)}"
        )
    concerned = {name: module for name, module in model.named_modules() if concerns(module)}
    reasons = {name: why_not(module) for name, module in concerned.items()}
    replaced = tuple(name for name, reason in reasons.items() if reason is None)
    for name in replaced:
        change(concerned[name])
    return Conversion(replaced, {name: why for name, why in reasons.items() if why is not None})


def _set_class(module: Any, classes: Mapping[type[Any], type[Any]]) -> None:
    kind = classes[type_before_parametrizations(module)]
    if is_parametrized(module):
        # Torch gives each parametrized module a class of its own, whose properties compute its
        # weights; `remove_parametrizations` goes back to the first base.
        unlike = ("__dict__", "__weakref__", "__module__", "__doc__")
        own = {name: value for name, value in vars(type(module)).items() if name not in unlike}
        kind = type(f"Parametrized{kind.__name__}", (kind,), own)
    module.__class__ = kind
