"""A module's parameters as evaluation computes with them: parametrized, pruned, without draws.

A parametrization in training mode may draw (weight drop) or change its own buffers (the power
iteration of spectral norm), and what pruning and torch's older weight norm compute is as old as the
last call.  Here each is computed anew, in evaluation mode, and the module is left as it was.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.prune import BasePruningMethod
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


@torch.no_grad()
def evaluated(module: nn.Module, name: str) -> Tensor:
    """The tensor that a call in evaluation would read as ``module.name``, without a history.

    A parameter that nothing stands for is given itself.
    """
    if parametrize.is_parametrized(module, name):
        computed = cast("Any", module.parametrizations)[name]
        with _evaluating(computed):
            return computed()
    hook = _hooks(module).get(name)
    if isinstance(hook, BasePruningMethod):
        return hook.apply_mask(module)
    if isinstance(hook, WeightNorm):
        return hook.compute_weight(module)
    if isinstance(hook, SpectralNorm):
        return hook.compute_weight(module, do_power_iteration=False)
    return cast(Tensor, getattr(module, name))


def evaluated_state(module: nn.Module) -> dict[str, Tensor]:
    """``module.state_dict()`` as it is where each computed parameter is a plain one."""
    state: dict[str, Tensor] = module.state_dict()
    for path, each in module.named_modules():
        prefix = f"{path}." if path else ""
        of_lists = (
            list(cast("Any", each.parametrizations)) if parametrize.is_parametrized(each) else []
        )
        for name in of_lists:
            inner = f"{prefix}parametrizations.{name}."
            state = {key: t for key, t in state.items() if not key.startswith(inner)}
        hooks = _hooks(each)
        for name in hooks:
            for end in ("orig", "mask", "g", "v", "u"):
                state.pop(f"{prefix}{name}_{end}", None)
        state |= {f"{prefix}{name}": evaluated(each, name) for name in (*of_lists, *hooks)}
    return state


def _hooks(module: nn.Module) -> dict[str, object]:
    """What computes parameters before each call, by the parameter's name."""
    found: dict[str, object] = {}
    for hook in module._forward_pre_hooks.values():  # pyright: ignore[reportPrivateUsage]
        if isinstance(hook, BasePruningMethod):
            found[hook._tensor_name] = hook  # pyright: ignore[reportPrivateUsage]
        elif isinstance(hook, (WeightNorm, SpectralNorm)):
            found[hook.name] = hook
    return found


@contextmanager
def _evaluating(module: nn.Module) -> Generator[None, None, None]:
    modes = {each: each.training for each in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for each, training in modes.items():
            each.training = training
